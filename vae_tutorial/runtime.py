"""Where code runs and where its randomness comes from.

One place chooses the device, one place turns seeds into generators, and no function here or
elsewhere in the package changes torch's global generator.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

RandomSource = torch.Generator | int | None
Noise = RandomSource | Tensor
"""Where noise comes from, or the noise itself: what lets a caller draw it for several processes at
once, or hand the same noise to two estimators."""


def default_device() -> torch.device:
    """The device to compute on: ``VAE_TUTORIAL_DEVICE`` if it is set, else CUDA if there is one,
    else the CPU.

    Raises:
        ValueError: the variable names a device that torch does not know or that is not here.
    """
    name = os.environ.get("VAE_TUTORIAL_DEVICE", "").strip()
    if not name:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"VAE_TUTORIAL_DEVICE={name!r} cannot be used ({reason}); "
            f"set it to 'cpu' or 'cuda', or leave it unset"
        ) from error
    return device


def chapter_seed(seed: int) -> int:
    """The seed that a chapter uses where it says ``seed``.

    ``VAE_TUTORIAL_SEED_OFFSET`` (0 unless set) moves all seeds of the book at once, which is how
    claims are shown to hold for other seeds too.
    """
    raw = os.environ.get("VAE_TUTORIAL_SEED_OFFSET", "0")
    try:
        offset = int(raw)
    except ValueError:
        raise ValueError(
            f"VAE_TUTORIAL_SEED_OFFSET={raw!r} is not a whole number; set it to one, such as 3"
        ) from None
    return seed + 1000 * offset


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


def standard_normal(shape: Sequence[int], rng: Noise, like: Tensor) -> Tensor:
    """Noise ``eps ~ N(0, I)`` of the given shape, with the dtype and device of ``like``.

    It is drawn on the generator's own device: a CPU generator gives the same noise to a model on
    the CPU and to one on a GPU. A tensor in place of a source is the noise, and is returned.

    Raises:
        ValueError: the noise that was given has another shape.
    """
    if isinstance(rng, Tensor):
        if rng.shape != torch.Size(shape):
            raise ValueError(
                f"the noise must have shape {list(shape)} (samples, examples, latent dimensions), "
                f"not {list(rng.shape)}"
            )
        return rng
    rng = as_generator(rng)
    eps = torch.randn(tuple(shape), generator=rng, device=rng.device, dtype=like.dtype)
    return eps.to(like.device)


def keep_freed_memory() -> None:
    """Makes the C library of Linux keep the memory of large tensors for the next ones.

    It gives back to the system what it has free beyond twice the largest block it ever gave back
    (mallopt(3), M_MMAP_THRESHOLD), so that a loop over tensors of some MiB asks for the same pages
    again and again. A block just below the limit of 32 MiB, never touched, is allocated and freed.
    """
    torch.empty(2**25 - 2**16, dtype=torch.uint8)


@contextmanager
def forked_seed(source: int, device: torch.device | None = None) -> Iterator[None]:
    """Seeds torch's global CPU generator inside the block, and that of a CUDA device, and restores
    them afterwards: for torch functions that take no generator, such as the initialization of
    ``nn.Linear``, or dropout."""
    cuda = device if device is not None and device.type == "cuda" else None
    state = torch.random.get_rng_state()
    cuda_state = None if cuda is None else torch.cuda.get_rng_state(cuda)
    torch.random.set_rng_state(as_generator(source).get_state())
    if cuda is not None:
        with torch.cuda.device(cuda):
            torch.cuda.manual_seed(source)
    try:
        yield
    finally:
        torch.random.set_rng_state(state)
        if cuda is not None and cuda_state is not None:
            torch.cuda.set_rng_state(cuda_state, cuda)
