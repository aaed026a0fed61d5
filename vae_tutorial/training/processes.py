"""Several processes that train one model: ``torchrun --nproc-per-node=2 -m vae_tutorial train …``.

Every process draws the whole batch and all of its noise from the same generator and takes its own
rows, so that K processes compute what one process computes, up to the order of the sums.
"""

from __future__ import annotations

import inspect
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.nn.parallel import DistributedDataParallel

# torch is renaming the option
_KNOWN = inspect.signature(DistributedDataParallel.__init__).parameters
_BUFFERS = "forward_sync_buffers" if "forward_sync_buffers" in _KNOWN else "broadcast_buffers"


class WorkerLostError(RuntimeError):
    """Another process of the run ended before its time."""


@dataclass(frozen=True)
class Workers:
    """This process among ``count``; number 0 writes and prints for all. One process is its own
    and only worker."""

    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        return self.rank == 0

    def share(self, module: nn.Module) -> nn.Module:
        """The module, its gradients averaged over the processes."""
        return module

    def part(self, batch: Tensor, dim: int = 0) -> Tensor:
        """This process's rows of a batch."""
        return batch

    def scale(self, size: int) -> float:
        """By what the sum over this process's rows is multiplied, so that the average over the
        processes is the mean over a batch of ``size`` examples."""
        return 1 / size

    def total(self, values: Tensor) -> Tensor:
        """The sum of the processes' values, the same in all."""
        return values

    def each(self, number: int) -> list[int]:
        """Every process's number, the same list in all."""
        return [number]


class ProcessGroup(Workers):
    """This process among several that torchrun started."""

    def share(self, module: nn.Module) -> nn.Module:
        """The module with gradients averaged over the processes. Buffers that are kept, such as
        the running means of a BatchNorm, are those of the first process at every step; in training
        such a layer sees the rows of its own process only."""
        kept = module.state_dict().keys() - dict(module.named_parameters()).keys()
        options: dict[str, Any] = {_BUFFERS: bool(kept)}
        return DistributedDataParallel(module, **options)

    def part(self, batch: Tensor, dim: int = 0) -> Tensor:
        """This process's rows, which differ by at most one row from another's. Where there are
        fewer rows than processes, the last ones get the last row, with no weight."""
        mine = torch.tensor_split(batch, self.count, dim)[self.rank]
        return mine if mine.shape[dim] else batch.narrow(dim, batch.shape[dim] - 1, 1)

    def scale(self, size: int) -> float:
        return self.count / size if self.rank < size else 0.0

    def total(self, values: Tensor) -> Tensor:
        values = values.clone()
        dist.all_reduce(values)
        return values

    def each(self, number: int) -> list[int]:
        numbers: list[int] = [0] * self.count
        dist.all_gather_object(numbers, number)
        return numbers


@contextmanager
def workers() -> Iterator[Workers]:
    """This process's place among those that torchrun started; alone where it started none.

    Raises:
        WorkerLostError: another process died, so that this one can only stop.
    """
    if "RANK" not in os.environ or "WORLD_SIZE" not in os.environ:
        yield Workers()
        return
    before = signal.signal(signal.SIGTERM, _told_to_stop)
    cuda = torch.cuda.is_available() and os.environ.get("VAE_TUTORIAL_DEVICE", "cuda") != "cpu"
    if cuda:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    dist.init_process_group("nccl" if cuda else "gloo")
    try:
        yield ProcessGroup(dist.get_rank(), dist.get_world_size())
        dist.barrier()
    except RuntimeError as error:
        lost = isinstance(error, dist.DistError) or "gloo" in str(error).lower()
        if not lost:
            raise
        reason = str(error).strip().splitlines()[-1].partition(". ")[0].rpartition("] ")[2]
        raise WorkerLostError(_LOST.format(reason=reason)) from error
    finally:
        signal.signal(signal.SIGTERM, before)
        if dist.is_initialized():
            dist.destroy_process_group()


_LOST = (
    "another process of this run ended ({reason}), so this one stops; start the same command "
    "again, and training goes on from its last checkpoint"
)


def _told_to_stop(number: int, frame: FrameType | None) -> None:
    raise WorkerLostError(_LOST.format(reason="this one was told to stop"))
