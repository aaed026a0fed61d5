"""Schedules for beta, the weight of the KL term: functions from progress to beta.

A schedule is called with the epoch as a float (2.5 is the middle of the third epoch) and returns
beta. Warming beta up from 0 keeps the KL term from switching dimensions off before the decoder has
learned to use them. For beta < 1 the weighted objective is no bound on log p(x); only the epochs
at beta = 1 maximize the ELBO.
"""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Callable, Sequence

from vae_tutorial.support import inputs

Schedule = Callable[[float], float]

__all__ = ["Schedule", "constant", "cyclical", "linear_warmup", "sigmoid", "staircase"]


def constant(beta: float = 1.0) -> Schedule:
    """beta at all times; values above 1 give the beta-VAE (Higgins et al. 2017)."""
    inputs.finite_number("beta", beta, at_least=0)
    return lambda epoch: beta


def linear_warmup(epochs: float, start: float = 0.0, end: float = 1.0) -> Schedule:
    """From ``start`` to ``end`` in a straight line over the given epochs, then ``end``.

    Source: Sønderby et al. (2016).
    """
    _check(start, end, epochs=epochs)
    return lambda epoch: start + (end - start) * min(max(epoch / epochs, 0.0), 1.0)


def cyclical(
    period: float, cycles: int, ramp: float = 0.5, start: float = 0.0, end: float = 1.0
) -> Schedule:
    """``cycles`` times: from ``start`` to ``end`` over the first part ``ramp`` of the period, then
    ``end`` until the period ends; ``end`` after the last cycle.

    Source: Fu et al. (2019).
    """
    _check(start, end, period=period)
    inputs.positive_int("cycles", cycles)
    if not 0 < inputs.finite_number("ramp", ramp) <= 1:
        raise ValueError(f"ramp must be a part of the period, above 0 and at most 1, not {ramp!r}")

    def beta(epoch: float) -> float:
        cycle, within = divmod(max(epoch, 0.0), period)
        if cycle >= cycles:
            return end
        return start + (end - start) * min(within / (ramp * period), 1.0)

    return beta


def sigmoid(midpoint: float, width: float, start: float = 0.0, end: float = 1.0) -> Schedule:
    """start + (end − start) / (1 + exp(−(epoch − midpoint) / width)): slow, fast, slow.

    It is halfway at ``midpoint`` and reaches ``end`` only in the limit; five widths later it is
    within 0.7 % of the way.

    Source: Bowman et al. (2016), section 3.1.
    """
    _check(start, end, width=width)
    inputs.finite_number("midpoint", midpoint)

    def beta(epoch: float) -> float:
        t = (epoch - midpoint) / width
        part = 1 / (1 + math.exp(-t)) if t >= 0 else math.exp(t) / (1 + math.exp(t))
        return start + (end - start) * part

    return beta


def staircase(values: Sequence[float], lengths: Sequence[float]) -> Schedule:
    """``values[i]`` for ``lengths[i]`` epochs, one after the other, then the last value: beta, or
    a learning rate that falls in steps.

    Source: Burda et al. (2016), section 5, with 0.001 · 10^(−i/7) for 3^i epochs, i = 0, …, 7.
    """
    if len(values) != len(lengths) or not values:
        raise ValueError(
            f"values and lengths must name the same stairs, at least one, "
            f"not {len(values)} and {len(lengths)}"
        )
    for value, length in zip(values, lengths, strict=True):
        inputs.finite_number("values", value, at_least=0)
        inputs.finite_number("lengths", length, above=0)
    ends = list(itertools.accumulate(lengths))
    return lambda epoch: values[min(bisect.bisect_right(ends, epoch), len(values) - 1)]


def _check(start: float, end: float, **durations: float) -> None:
    inputs.finite_number("start", start, at_least=0)
    inputs.finite_number("end", end, at_least=0)
    for name, value in durations.items():
        inputs.finite_number(name, value, above=0)
