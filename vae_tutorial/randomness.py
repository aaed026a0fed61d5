"""Where randomness comes from: one place turns seeds into generators, generators into noise, and
no function of the package leaves torch's global generator changed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

RandomSource = torch.Generator | int | None

__all__ = ["RandomSource", "as_generator", "forked_seed", "standard_normal"]


def as_generator(source: RandomSource) -> torch.Generator:
    """A random generator from a seed, from a generator (returned as it is), or, for ``None``, from
    fresh entropy of the operating system, as NumPy's ``default_rng`` does."""
    if isinstance(source, torch.Generator):
        return source
    generator = torch.Generator()
    if source is None:
        generator.seed()
    elif isinstance(source, int) and not isinstance(source, bool) and 0 <= source < 2**63:
        generator.manual_seed(source)
    else:
        raise ValueError(
            f"a random source is a whole number from 0 to 2**63 - 1, a torch.Generator or None, "
            f"not {source!r}"
        )
    return generator


def standard_normal(shape: Sequence[int], rng: RandomSource, like: Tensor) -> Tensor:
    """Noise ``eps ~ N(0, I)`` of the given shape, with the dtype and device of ``like``.

    It is drawn on the generator's own device: a CPU generator gives the same noise to a model on
    the CPU and to one on a GPU.
    """
    rng = as_generator(rng)
    eps = torch.randn(tuple(shape), generator=rng, device=rng.device, dtype=like.dtype)
    return eps.to(like.device)


@contextmanager
def forked_seed(seed: int, device: torch.device | None = None) -> Iterator[None]:
    """Seeds torch's global CPU generator inside the block, and that of a CUDA device, and restores
    them afterwards: for torch functions that take no generator, such as the initialization of
    ``nn.Linear``, or dropout."""
    cuda = device if device is not None and device.type == "cuda" else None
    state = torch.random.get_rng_state()
    cuda_state = None if cuda is None else torch.cuda.get_rng_state(cuda)
    torch.default_generator.manual_seed(seed)
    if cuda is not None:
        with torch.cuda.device(cuda):
            torch.cuda.manual_seed(seed)
    try:
        yield
    finally:
        torch.random.set_rng_state(state)
        if cuda is not None and cuda_state is not None:
            torch.cuda.set_rng_state(cuda_state, cuda)
