"""Bad input is refused at the door, in one sentence: what came, what is allowed, what to do."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor


def positive_int(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{name} must be a whole number of at least 1, not {value!r}")
    return value


def finite_number(
    name: str, value: object, *, above: float | None = None, at_least: float | None = None
) -> float:
    bound = f" above {above:g}" if above is not None else ""
    bound = f" of at least {at_least:g}" if at_least is not None else bound
    ok = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if ok and above is not None:
        ok = value > above  # type: ignore[operator]
    if ok and at_least is not None:
        ok = value >= at_least  # type: ignore[operator]
    if not ok:
        raise ValueError(f"{name} must be a finite number{bound}, not {value!r}")
    return float(value)  # type: ignore[arg-type]


def one_of(name: str, value: object, allowed: Iterable[str]) -> str:
    allowed = list(allowed)
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, allowed))}, not {value!r}")
    return str(value)


def batch(name: str, x: object, width: int | None = None, like: Tensor | None = None) -> Tensor:
    """A finite floating-point tensor of shape [B, width], of the type and on the device of
    ``like``."""
    if not isinstance(x, Tensor):
        raise TypeError(
            f"{name} must be a torch.Tensor, not {type(x).__name__}; "
            f"torch.as_tensor({name}, dtype=torch.float32) makes one"
        )
    shape = list(x.shape)
    if x.dim() != 2 or 0 in shape or (width is not None and shape[1] != width):
        wanted = "[B, D]" if width is None else f"[B, {width}]"
        raise ValueError(
            f"{name} must have shape {wanted} with B of at least 1, not {shape}; "
            f"one example is {name}[None], images are flattened by {name}.flatten(1)"
        )
    if not x.is_floating_point():
        raise TypeError(
            f"{name} must be floating point, not {x.dtype}; convert it with {name}.float()"
        )
    if like is not None and x.dtype != like.dtype:
        raise TypeError(
            f"{name} is {x.dtype} and the model computes in {like.dtype}; "
            f"convert it with {name}.to({like.dtype})"
        )
    if like is not None and x.device != like.device:
        raise ValueError(
            f"{name} is on the device {x.device} and the model on {like.device}; "
            f"move it with {name}.to(model.device)"
        )
    if not bool(torch.isfinite(x).all()):
        bad = int((~torch.isfinite(x)).any(dim=1).sum())
        raise ValueError(
            f"{name} has NaN or infinite values in {bad} of {shape[0]} examples; "
            f"remove or repair them"
        )
    return x
