"""A device without a GPU: ``pretend``, on which mixing devices is an error.

Importing this module registers it with torch, once and for the whole process. A tensor on it holds
a tensor on the CPU and computes with that one, but is no CPU tensor itself: where the two meet,
and where NumPy asks for its numbers, it raises as a GPU's tensor would. Only what a GPU allows
passes: a CPU scalar, an index, a copy from device to device.

It is a double, and says nothing about speed, memory, several devices, captured graphs, or the
order of sums. It draws random numbers from the CPU's global generator, and autocast leaves it in
float32.

How it works. Every operation on such a tensor arrives at ``_compute``, which unwraps the
arguments, calls the same operation on the CPU and wraps the result. Three things are torch's
doing:
- C++ copies tensors without their Python attributes: the CPU tensor is found by the storage then;
- operations made of others resize their outputs unseen: shapes are put right after each call;
- a view is made by a kernel of its own, unless one is registered: ``_register_kernels`` does.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils._pytree import tree_map
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

NAME = "pretend"
aten = torch.ops.aten
COPIES = {aten.copy_.default, aten._copy_from.default}
INDEXED = {"aten::index", "aten::index_put", "aten::index_put_", "aten::_index_put_impl_"}


def _convolution_backward(grad, x, weight, *how):
    *how, output_mask = how
    transposed, groups = how[3], how[5]
    bias = weight.shape[1] * groups if transposed else weight.shape[0]
    return aten.convolution_backward(grad, x, weight, [bias], *how, output_mask)


ON_CPU = {  # what torch leaves to every device to write
    aten.convolution_overrideable.default: aten.convolution.default,
    aten.convolution_backward_overrideable.default: _convolution_backward,
}
operations = 0
"""How many operations the device has computed."""
_held: dict[int, Tensor] = {}  # the storage of a tensor -> the CPU tensor that it stands for


class _Device:
    """What torch asks of ``torch.pretend``."""

    is_available = is_initialized = staticmethod(lambda: True)
    _is_in_bad_fork = staticmethod(lambda: False)
    current_device = staticmethod(lambda: 0)
    device_count = staticmethod(lambda: 1)
    manual_seed_all = synchronize = staticmethod(lambda *_: None)
    get_amp_supported_dtype = staticmethod(lambda: [torch.bfloat16])
    get_rng_state = staticmethod(lambda _=None: torch.get_rng_state())
    set_rng_state = staticmethod(lambda state, _=None: None)


_setup_privateuseone_for_python_backend(NAME, backend_module=_Device())


class PretendTensor(Tensor):
    """A tensor on the device. The class is what lets torch make an ``nn.Parameter`` of it."""

    on_cpu: Tensor

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        with torch._C.DisableTorchFunctionSubclass():
            result = function(*args, **(kwargs or {}))
        if type(result) is Tensor and result.device.type == NAME:  # one that C++ made
            result.__class__ = cls
        return result

    def __format__(self, spec: str) -> str:
        return format(self.item() if self.dim() == 0 else repr(self), spec)


def _wrap(on_cpu: Tensor) -> Tensor:
    outer = torch._C._acc.create_empty_tensor(on_cpu.shape, on_cpu.dtype)
    outer.__class__ = PretendTensor
    outer.on_cpu = _held[outer.untyped_storage()._cdata] = on_cpu
    return outer


def _unwrap(outer: Tensor) -> Tensor:
    on_cpu = getattr(outer, "on_cpu", None)
    if on_cpu is None:
        on_cpu = _held[outer.untyped_storage()._cdata]
    if on_cpu.shape != outer.shape and on_cpu.numel() == outer.numel():
        on_cpu = on_cpu.reshape(outer.shape)
    outer.on_cpu = on_cpu
    return on_cpu


def _compute(op, *args, **kwargs):
    global operations
    operations += 1
    outers: dict[int, Tensor] = {}  # the arguments on the device, by what they stand for

    def enter(value: object, *, may_be_on_cpu: bool = op in COPIES) -> object:
        if isinstance(value, torch.device) and value.type == NAME:
            return torch.device("cpu")
        if not isinstance(value, Tensor):
            return value
        if value.device.type == NAME:
            inner = _unwrap(value)
            outers[id(inner)] = value
            return inner
        if value.dim() > 0 and not may_be_on_cpu:
            raise RuntimeError(
                f"Expected all tensors to be on the same device, but {op._schema.name} got one of "
                f"shape {list(value.shape)} on {value.device} beside those on {NAME}"
            )
        return value

    def leave(value: object) -> object:
        if not isinstance(value, Tensor):
            return value
        return outers[id(value)] if id(value) in outers else _wrap(value)

    if op._schema.name in INDEXED:  # the indices may be on the CPU
        indices = tree_map(lambda value: enter(value, may_be_on_cpu=True), args[1])
        inner = [tree_map(enter, args[0]), indices, *tree_map(enter, args[2:])]
    else:
        inner = [tree_map(enter, value) for value in args]
    if op is aten._copy_from.default:
        inner[1].copy_(inner[0])
        return args[1]
    if op is aten._local_scalar_dense.default:
        return inner[0].item()
    if op is aten.view.default:  # contiguous or not, as C++ believes it to be
        return leave(inner[0].reshape(inner[1]))
    for i, argument in enumerate(op._schema.arguments[: len(inner)]):
        if isinstance(inner[i], (bool, int, float)) and str(argument.type) == "Tensor":
            inner[i] = torch.tensor(inner[i])  # as which torch counts a number beside a tensor
    result = ON_CPU.get(op, op)(*inner, **tree_map(enter, kwargs))
    for outer in outers.values():
        if outer.shape != outer.on_cpu.shape:  # an output that was resized
            with torch.no_grad():
                outer.data = _wrap(outer.on_cpu)
    return tree_map(leave, result)


def _register_kernels(library: torch.library.Library) -> None:
    """A kernel of its own for every operation that makes a view, or of a tensor another view, and
    for those that torch leaves to the device."""
    for name in torch._C._dispatch_get_all_op_names():
        short, _, overload = name.removeprefix("aten::").partition(".")
        if not name.startswith("aten::") or short in ("_fw_primal", "_make_dual"):
            continue
        op = getattr(getattr(aten, short, None), overload or "default", None)
        if op is None or torch._C._dispatch_has_kernel_for_dispatch_key(
            name, "CompositeImplicitAutograd"
        ):
            continue
        view = any(r.alias_info and not r.alias_info.is_write for r in op._schema.returns)
        if view or torch.Tag.inplace_view in op.tags or op in ON_CPU:
            kernel = lambda *args, _op=op, **kwargs: _compute(_op, *args, **kwargs)  # noqa: E731
            library.impl(name.removeprefix("aten::"), kernel, "PrivateUse1")


_fallback = torch.library.Library("_", "IMPL")
_fallback.fallback(_compute, "PrivateUse1")
_fallback.fallback(torch.library.fallthrough_kernel, "AutocastPrivateUse1")
_views = torch.library.Library("aten", "IMPL")
_register_kernels(_views)
