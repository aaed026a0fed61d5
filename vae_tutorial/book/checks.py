"""``verify`` checks an equation of a page and prints its tick.

    verify("eq-kl-standard", identical(kl, closed_form), wrong=identical(kl, sign_flipped))

A check that cannot fail proves nothing, so each equation is checked beside its nearby wrong
formulas, which must be rejected. The tick says the same on every machine; numbers appear only when
a check fails. This module imports nothing of the package, so that a check and what it checks
cannot share a mistake.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


class VerificationError(AssertionError):
    """An equation does not hold, or a wrong neighbor passes for it."""


@dataclass(frozen=True)
class Check:
    """The outcome of one comparison: ``how`` is for the tick, ``detail`` for the error."""

    ok: bool
    how: str
    detail: str


def verify(label: str, check: Check, *, wrong: Check | Sequence[Check]) -> None:
    """Prints ``✓ label: how`` if the check holds and every wrong neighbor fails its own.

    Raises:
        VerificationError: the check fails, or a wrong neighbor passes.
        ValueError: the label does not start with ``eq-``, or no wrong neighbor is given.
    """
    neighbors = [wrong] if isinstance(wrong, Check) else list(wrong)
    if not label.startswith("eq-"):
        raise ValueError(f"an equation's label starts with 'eq-', and {label!r} does not")
    if not neighbors:
        raise ValueError(f"{label} needs at least one wrong neighbor that its check rejects")
    if not check.ok:
        raise VerificationError(f"✗ {label}: not {check.how}: {check.detail}")
    for number, neighbor in enumerate(neighbors, 1):
        if neighbor.ok:
            raise VerificationError(
                f"✗ {label}: wrong neighbor {number} of {len(neighbors)} passes as "
                f"{neighbor.how}: {neighbor.detail}"
            )
    plural = "" if len(neighbors) == 1 else "s"
    print(f"✓ {label}: {check.how}; {len(neighbors)} wrong neighbor{plural} rejected")


def identical(left: Any, right: Any) -> Check:
    """A SymPy identity: left − right simplifies to zero (matrices: each entry does)."""
    import sympy

    residual = sympy.simplify(sympy.expand_log(sympy.expand(left - right), force=False))
    entries = list(residual) if hasattr(residual, "shape") else [residual]
    ok = all(sympy.simplify(entry) == 0 for entry in entries)
    return Check(ok, "proved with SymPy", f"left − right = {residual}")


def close(left: ArrayLike, right: ArrayLike, *, rtol: float = 1e-6, atol: float = 1e-9) -> Check:
    """Numbers that agree: |left − right| ≤ atol + rtol |right|, everywhere and finite."""
    a, b = _pair(left, right)
    with np.errstate(invalid="ignore"):
        excess = np.abs(a - b) - (atol + rtol * np.abs(b))
    ok = bool(np.isfinite(a).all() and np.isfinite(b).all() and (excess <= 0).all())
    return Check(ok, f"equal within rtol {rtol:g}, atol {atol:g}", _worst(a, b, excess))


def at_most(left: ArrayLike, right: ArrayLike, *, atol: float = 0.0) -> Check:
    """An inequality: left ≤ right + atol, everywhere and finite."""
    a, b = _pair(left, right)
    ok = bool(np.isfinite(a).all() and np.isfinite(b).all() and (a <= b + atol).all())
    with np.errstate(invalid="ignore"):
        excess = a - b
    return Check(
        ok, f"at most, at {a.size} point{'s' if a.size > 1 else ''}", _worst(a, b, excess)
    )


def estimates(samples: ArrayLike, target: ArrayLike, *, standard_errors: float = 5.0) -> Check:
    """A Monte Carlo estimate: |mean − target| within so many standard errors of the mean.

    ``samples`` [S] or [S, ...] are independent along the first axis, with a finite variance;
    ``target`` is one value or one per column. The standard error is that of the samples, so the
    target must not come from the same samples.
    """
    x = _array(samples)
    if x.ndim == 0 or x.shape[0] < 30:
        raise ValueError(
            f"a standard error needs at least 30 independent samples along the first axis, "
            f"not shape {x.shape}"
        )
    t = np.broadcast_to(_array(target), x.shape[1:])
    with np.errstate(divide="ignore", invalid="ignore"):
        mean, error = x.mean(0), x.std(0, ddof=1) / math.sqrt(x.shape[0])
        ok = bool(np.isfinite(mean).all() and (error > 0).all())
        z = np.atleast_1d((mean - t) / error)
    ok = ok and bool((np.abs(z) <= standard_errors).all())
    worst = int(np.argmax(np.abs(z)))
    detail = (
        f"mean {np.atleast_1d(mean).flat[worst]:.6g} is {z.flat[worst]:+.1f} standard errors from "
        f"{np.atleast_1d(t).flat[worst]:.6g}"
    )
    return Check(ok, f"estimated within {standard_errors:g} standard errors", detail)


def _worst(a: NDArray[np.float64], b: NDArray[np.float64], excess: NDArray[np.float64]) -> str:
    """Where two sides differ most, for the error message."""
    worst = int(np.argmax(np.where(np.isnan(excess), math.inf, excess)))
    return f"worst at index {worst}: {float(a.flat[worst])!r} against {float(b.flat[worst])!r}"


def _array(value: Any) -> NDArray[np.float64]:
    if hasattr(value, "detach"):  # a torch tensor, on any device
        value = value.detach().cpu().numpy()
    return np.asarray(value, dtype=np.float64)


def _pair(left: Any, right: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    a, b = _array(left), _array(right)
    if a.size == 0 or b.size == 0:
        raise ValueError("there is nothing to compare: one side is empty")
    if a.shape != b.shape and a.ndim and b.ndim:
        raise ValueError(f"the two sides differ in shape, {a.shape} against {b.shape}")
    a, b = np.broadcast_arrays(a, b)
    return a, b
