"""What a closed form is given: tensors that it is written for, or one sentence of refusal.

The truth imports nothing of the package, not even its checks at the door, and so it has its own.
"""

from __future__ import annotations

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


def covariance(name: str, S: Tensor) -> None:
    """Refuses matrices [..., D, D] of which one is no covariance."""
    skew, largest = (S - S.mT).abs().amax((-2, -1)), S.abs().amax((-2, -1))
    if bool((skew > 1e-5 * largest).any()) or bool(torch.linalg.cholesky_ex(S).info.any()):
        raise ValueError(
            f"{name} must be symmetric and positive definite, but differs from its transpose by "
            f"{skew.max():.3g} and has an eigenvalue of {torch.linalg.eigvalsh(S).min():.3g}; "
            f"take the mean of the two, and add a multiple of the identity"
        )


def distribution(name: str, p: Tensor, allowed: str, fits: Tensor) -> None:
    """Refuses rows [..., K] of which one is no distribution."""
    total = p.sum(-1)
    if not bool(fits.all()) or bool(((total - 1).abs() > 1e-5).any()):
        raise ValueError(
            f"{name} must be {allowed} with sum 1, but its smallest is {p.min():.3g} and its sums "
            f"go from {total.min():.6g} to {total.max():.6g}; divide by the sum"
        )
