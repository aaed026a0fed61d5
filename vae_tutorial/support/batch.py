"""The mean over a whole batch, also where several processes hold a part of it each: what free bits
need."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from torch import Tensor


class Workers(Protocol):
    """The processes that share a batch."""

    @property
    def count(self) -> int: ...

    def total(self, values: Tensor) -> Tensor:
        """The sum of the processes' values."""


_spread: tuple[Workers, bool] | None = None


def batch_mean(values: Tensor) -> Tensor:
    """The mean over the first dimension, without gradient: of the rows that are given, or, inside
    :func:`spread_over`, of the rows of all processes."""
    if _spread is None:
        return values.detach().mean(0)
    workers, counted = _spread
    sums = values.new_empty(values.shape[1:].numel() + 1)
    sums[:-1], sums[-1] = values.detach().sum(0).flatten(), len(values)
    sums = workers.total(sums * counted)
    return (sums[:-1] / sums[-1]).view(values.shape[1:])


@contextmanager
def spread_over(workers: Workers, counted: bool) -> Iterator[None]:
    """Inside the block every batch is spread over processes. This one's rows are ``counted``,
    unless there were too few rows for all."""
    global _spread
    before, _spread = _spread, (workers, counted) if workers.count > 1 else None
    try:
        yield
    finally:
        _spread = before
