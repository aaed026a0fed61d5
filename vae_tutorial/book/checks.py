"""``verify`` checks an equation of a page and prints its tick.

    verify("eq-kl-standard", identical(kl, closed_form), wrong=identical(kl, sign_flipped))

The tick says what was done, in one of three words: *proved* (by SymPy, for all values), *computed*
(at so many points, within a tolerance) or *sampled* (with so many draws, within so many standard
errors). A check that cannot fail proves nothing, so each equation is checked beside its nearby
wrong formulas, which must be rejected because they are wrong, not because they are no numbers. The
tick says the same on every machine; numbers appear only when a check fails. This module imports
nothing of the package, so that a check and what it checks cannot share a mistake.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

RTOL, ATOL = 1e-6, 1e-9


class VerificationError(AssertionError):
    """An equation does not hold, or a wrong neighbor is not rejected for being wrong."""


@dataclass(frozen=True)
class Check:
    """The outcome of one comparison.

    ``how`` is for the tick and ``to`` leads from it to the reference; ``detail`` is for the error.
    ``undecided`` says why this comparison can reject nothing, and is empty where it can.
    """

    ok: bool
    how: str
    detail: str
    to: str = "of"
    undecided: str = ""


def verify(
    label: str, check: Check, *, wrong: Check | Sequence[Check], against: str | None = None
) -> None:
    """Prints ``✓ label: how`` if the check holds and every wrong neighbor fails its own.

    ``against`` names the reference in the tick: ``against="torch.distributions"``.

    Raises:
        VerificationError: the check fails, or a wrong neighbor passes, or fails only because it
            is not finite, has no spread, or cannot be evaluated.
        ValueError: the label does not start with ``eq-``, or no wrong neighbor is given.
    """
    neighbors = [wrong] if isinstance(wrong, Check) else list(wrong)
    if not label.startswith("eq-"):
        raise ValueError(f"an equation's label starts with 'eq-', and {label!r} does not")
    if not neighbors:
        raise ValueError(f"{label} needs at least one wrong neighbor that its check rejects")
    how = f"{check.how} {check.to} {against}" if against else check.how
    if not check.ok:
        raise VerificationError(f"✗ {label}: not {how}: {check.detail}")
    for number, neighbor in enumerate(neighbors, 1):
        name = f"wrong neighbor {number} of {len(neighbors)}"
        if neighbor.ok:
            raise VerificationError(
                f"✗ {label}: {name} passes as {neighbor.how}: {neighbor.detail}"
            )
        if neighbor.undecided:
            raise VerificationError(
                f"✗ {label}: {name} {neighbor.undecided}, so its rejection shows nothing; give a "
                f"formula that is finite and wrong ({neighbor.detail})"
            )
    plural = "" if len(neighbors) == 1 else "s"
    print(f"✓ {label}: {how}; {len(neighbors)} wrong neighbor{plural} rejected")


def identical(left: Any, right: Any, *, given: str | None = None) -> Check:
    """A SymPy identity: left − right simplifies to zero (matrices: each entry does).

    ``given`` names for the tick what the proof takes for granted, where the equation claims more:
    ``given="Gaussian factors"``. Where the two sides differ, numbers decide: the difference must
    be finite and not zero at some point.
    """
    import sympy

    residual = sympy.simplify(sympy.expand_log(sympy.expand(left - right), force=False))
    entries = list(residual) if hasattr(residual, "shape") else [residual]
    ok = all(sympy.simplify(entry) == 0 for entry in entries)
    undecided = "" if ok else _undecided(entries)
    detail = f"left − right = {residual}"
    scope = f"given {given}" if given else "for all values"
    return Check(ok, f"proved with SymPy, {scope}", detail, "against", undecided)


def close(left: ArrayLike, right: ArrayLike, *, rtol: float = RTOL, atol: float = ATOL) -> Check:
    """Numbers that agree: |left − right| ≤ atol + rtol |right|, everywhere and finite."""
    a, b = _pair(left, right)
    finite = bool(np.isfinite(a).all() and np.isfinite(b).all())
    with np.errstate(invalid="ignore"):
        excess = np.abs(a - b) - (atol + rtol * np.abs(b))
    tolerance = f"{rtol:g}" if atol <= ATOL else f"{rtol:g} relative or {atol:g} absolute"
    how = f"computed at {_count(a.size, 'point')}, within {tolerance}"
    ok = finite and bool((excess <= 0).all())
    return Check(ok, how, _worst(a, b, excess), undecided="" if finite else "is not finite")


def at_most(left: ArrayLike, right: ArrayLike, *, atol: float = 0.0) -> Check:
    """An inequality: left ≤ right + atol, everywhere and finite."""
    a, b = _pair(left, right)
    finite = bool(np.isfinite(a).all() and np.isfinite(b).all())
    with np.errstate(invalid="ignore"):
        excess = a - b
    by = f" {atol:g}" if atol else ""
    how = f"computed at {_count(a.size, 'point')}, nowhere{by} larger"
    ok = finite and bool((a <= b + atol).all())
    detail = _worst(a, b, excess)
    return Check(ok, how, detail, "than", undecided="" if finite else "is not finite")


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
        spread = (x.max(0) - x.min(0)) > 1e-9 * np.abs(x).max(0)  # more than rounding
        z = np.atleast_1d((mean - t) / error)
    undecided = ""
    if not (np.isfinite(mean).all() and np.isfinite(error).all() and np.isfinite(t).all()):
        undecided = "is not finite"
    elif not spread.all():
        undecided = "has no variance"
    ok = not undecided and bool((np.abs(z) <= standard_errors).all())
    worst = int(np.argmax(np.abs(z)))
    detail = (
        f"mean {np.atleast_1d(mean).flat[worst]:.6g} is {z.flat[worst]:+.1f} standard errors from "
        f"{np.atleast_1d(t).flat[worst]:.6g}"
    )
    columns = f" at {_count(z.size, 'point')}" if z.size > 1 else ""
    draws = f"sampled with {_count(x.shape[0], 'draw')}{columns}"
    how = f"{draws}, within {standard_errors:g} standard errors"
    return Check(ok, how, detail, undecided=undecided)


def _undecided(entries: Sequence[Any]) -> str:
    """Why a symbolic difference shows nothing: no numbers, or zero wherever one looks."""
    largest = 0.0
    for turn in range(3):
        values = [_number(entry, turn) for entry in entries]
        if not all(math.isfinite(value) for value in values):
            return "cannot be evaluated"
        largest = max(largest, *values)
    return "" if largest > 1e-9 else "is right at every point that was tried"


def _number(entry: Any, turn: int) -> float:
    """|entry| at one point, with symbols set to fractions within their assumptions; else NaN."""
    import sympy

    point = {}
    for place, symbol in enumerate(sorted(entry.free_symbols, key=str)):
        value = sympy.Rational(2 + turn, 5 + 2 * place + turn)  # in (0, 1), each its own
        value = sympy.Integer(1 + place + turn) if symbol.is_integer else value
        point[symbol] = -value if symbol.is_negative or symbol.is_nonpositive else value
    try:
        return float(abs(complex(entry.subs(point).evalf())))
    except (TypeError, ValueError, OverflowError):
        return math.nan


def _count(number: int, name: str) -> str:
    return f"{number:,} {name}{'' if number == 1 else 's'}"


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
