"""What an update is given: tensors and numbers that it is written for, or one sentence of refusal.

The truth imports nothing of the package, not even its checks at the door, and so it has its own.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def tensor(name: str, x: object, shape: str, like: Tensor | None = None, **sizes: int) -> Tensor:
    """x, if it is a finite tensor of this shape, such as "B D", of the letters' known sizes."""
    if not isinstance(x, Tensor):
        kind = type(x).__name__
        raise TypeError(f"{name} must be a torch.Tensor, not {kind}; torch.as_tensor makes one")
    letters = shape.split()
    if len(letters) != x.dim() or not all(
        size and size == sizes.get(a, size) for a, size in zip(letters, x.shape, strict=True)
    ):
        known = "".join(f", {a} = {sizes[a]}" for a in dict.fromkeys(letters) if a in sizes)
        raise ValueError(
            f"{name} must have shape [{', '.join(letters)}]{known}, and none of them 0, not "
            f"{list(x.shape)}; reshape it, since nothing is broadcast"
        )
    wanted = "torch.float32 or torch.float64" if like is None else f"{like.dtype} on {like.device}"
    found = f"{x.dtype} on {x.device}"
    if x.dtype not in (torch.float32, torch.float64) or (like is not None and found != wanted):
        raise TypeError(f"{name} must be {wanted}, not {found}; convert it with {name}.to(...)")
    if not bool(torch.isfinite(x).all()):
        raise ValueError(f"{name} holds NaN or infinite values; remove or repair them")
    return x


def variances(name: str, v: object, like: Tensor, J: int) -> Tensor:
    """v, if it is [J] and positive."""
    v = tensor(name, v, "J", like, J=J)
    if not bool((v > 0).all()):
        raise ValueError(
            f"{name} must be positive, but the smallest is {v.min():g}; a factor needs a width"
        )
    return v


def number(name: str, value: object, *, positive: bool = False) -> None:
    """Refuses what is no finite number or, if it must be, none above 0."""
    known = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not known or not math.isfinite(value) or (positive and value <= 0):  # type: ignore[arg-type,operator]
        bound = " above 0" * positive
        raise ValueError(
            f"{name} must be a finite number{bound}, not {value!r}; choose another one"
        )
