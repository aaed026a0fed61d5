"""Where training takes its batches from: examples that are visited in a new order every epoch, or
a stream that nobody can see ahead.

Both give the batches of one run in one order that the seed decides, and can begin again in the
middle, which is what resuming a run needs.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property

import torch
from torch import Tensor

from vae_tutorial.data import Dataset
from vae_tutorial.model import VAE
from vae_tutorial.randomness import as_generator
from vae_tutorial.support import inputs

Transform = Callable[[Tensor, torch.Generator], Tensor]
ROWS = 5000  # examples that are transformed and checked at a time, before the first step


class Examples:
    """Batches out of one tensor [N, D] on the model's device, shuffled anew for every epoch.

    The last batch of an epoch may be smaller; ``size`` is that of the others. ``order_state``
    is the generator's state from which the current epoch's order was drawn.
    """

    def __init__(
        self, model: VAE, x: Tensor, batch_size: int, seed: int, transform: Transform | None
    ) -> None:
        for _ in as_seen(model, x, seed, transform):  # refused here, not in the middle of a run
            pass
        self.x, self.batch_size, self.transform = x.to(model.device), batch_size, transform
        self.steps_per_epoch: int = -(-len(x) // batch_size)
        self.size = min(batch_size, len(x))
        self.order_state = torch.empty(0, dtype=torch.uint8)

    @cached_property
    def name(self) -> str:
        """Which examples these are, whatever their transform."""
        content = self.x.cpu().contiguous().view(torch.uint8).numpy().data
        return f"{len(self.x)} examples with SHA-256 {hashlib.sha256(content).hexdigest()[:12]}"

    def time(self, step: int) -> float:
        """The epoch as a float: what schedules are called with."""
        return step / self.steps_per_epoch

    def take(self, rng: torch.Generator, done: int) -> Iterator[Tensor]:
        """The batches after the first ``done``, without end."""
        within = done % self.steps_per_epoch
        if within:  # in the middle of an epoch: draw its order again
            now = rng.get_state()
            rng.set_state(self.order_state)
            order = torch.randperm(len(self.x), generator=rng)
            rng.set_state(now)
            yield from self._batches(order, rng, within)
        while True:
            self.order_state = rng.get_state()
            yield from self._batches(torch.randperm(len(self.x), generator=rng), rng, 0)

    def _batches(self, order: Tensor, rng: torch.Generator, first: int) -> Iterator[Tensor]:
        for index in torch.split(order, self.batch_size)[first:]:
            batch = self.x.index_select(0, index.to(self.x.device))
            yield self.transform(batch, rng) if self.transform else batch


class Stream:
    """Batches [B, D] out of any iterable, in its own order; each is checked when it arrives.

    A batch is a tensor, or a tuple or list whose first entry is one, as a DataLoader gives it.
    After a restart the iterable is asked again from its beginning, and what was used is passed
    over.
    """

    steps_per_epoch: int | None = None
    size: int | None = None  # nobody knows before the first batch
    order_state = torch.empty(0, dtype=torch.uint8)
    name = "a stream"

    def __init__(self, model: VAE, batches: Iterable[object], transform: Transform | None) -> None:
        self.model, self.batches, self.transform = model, batches, transform

    def time(self, step: int) -> float:
        """The step: what schedules are called with, for want of epochs."""
        return float(step)

    def take(self, rng: torch.Generator, done: int) -> Iterator[Tensor]:
        """The batches after the first ``done``, until the stream ends."""
        for step, batch in enumerate(itertools.islice(self.batches, done, None), done + 1):
            x = batch[0] if isinstance(batch, (tuple, list)) and batch else batch
            if not isinstance(x, Tensor):
                raise TypeError(
                    f"batch {step} of the stream is {type(x).__name__}, not a torch.Tensor "
                    f"[B, D]; let the stream yield tensors"
                )
            x = x.to(self.model.device)
            if self.transform:
                x = self.transform(x.clone(), rng)  # the stream's own tensor stays as it is
            yield self.model.check_data(x)


Batches = Examples | Stream


def batches_of(
    model: VAE,
    data: Dataset | Tensor | Iterable[object],
    batch_size: int,
    seed: int,
    transform: Transform | None,
) -> tuple[Batches, Tensor | None]:
    """The batches to train on, and the held-out examples as the model sees them if the data have
    some.

    Raises:
        TypeError, ValueError: data that this model cannot explain, or something else than data.
    """
    inputs.positive_int("batch_size", batch_size)
    if isinstance(data, Dataset):
        transform = data.transform if transform is None else transform
        held_out = torch.cat(list(as_seen(model, data.valid.x, seed, transform)))
        return Examples(model, data.train.x, batch_size, seed, transform), held_out
    if isinstance(data, Tensor):
        return Examples(model, data, batch_size, seed, transform), None
    if isinstance(data, Iterable) and not isinstance(data, str | bytes | dict):
        return Stream(model, data, transform), None
    raise TypeError(
        f"data must be a Dataset, a tensor [N, D] or an iterable of batches [B, D], "
        f"not {type(data).__name__}"
    )


def as_seen(model: VAE, x: Tensor, seed: int, transform: Transform | None) -> Iterator[Tensor]:
    """The examples as the model will see them, part by part, on its device, and checked. A
    transform gets copies: it may change what it is given."""
    rng = as_generator(seed)
    for part in x.split(ROWS):
        part = part.to(model.device)
        yield model.check_data(transform(part.clone(), rng) if transform else part)
