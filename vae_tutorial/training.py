"""Training: one loop, on one screen, and the history that it returns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from vae_tutorial import _door
from vae_tutorial.annealing import Schedule, constant
from vae_tutorial.data import Dataset
from vae_tutorial.model import VAE
from vae_tutorial.objectives import elbo_terms
from vae_tutorial.progress import Progress
from vae_tutorial.runtime import as_generator


@dataclass
class History:
    """What training measured, one value per epoch, in nats per example.

    ``elbo``, ``reconstruction`` and ``kl`` are means over the epoch's training batches, while the
    parameters move; ``valid_elbo`` is the mean held-out ELBO after the epoch, empty without a
    validation split.
    """

    elbo: list[float] = field(default_factory=list)
    reconstruction: list[float] = field(default_factory=list)
    kl: list[float] = field(default_factory=list)
    valid_elbo: list[float] = field(default_factory=list)

    @property
    def epoch(self) -> list[int]:
        """1, 2, …, the number of epochs."""
        return list(range(1, len(self.elbo) + 1))

    def __repr__(self) -> str:
        return f"History({len(self.elbo)} epochs)"


class DivergenceError(RuntimeError):
    """Training produced a number that is not finite."""


def fit(
    model: VAE,
    data: Dataset | Tensor,
    *,
    epochs: int = 30,
    batch_size: int = 100,
    learning_rate: float = 1e-3,
    beta: float | Schedule = 1.0,
    seed: int = 0,
    progress: bool = True,
    transform: Callable[[Tensor, torch.Generator], Tensor] | None = None,
) -> History:
    """Maximizes the mean of reconstruction − beta · kl with Adam (algorithm 1, AEVB, with L = 1).

    Args:
        model: the VAE; it is trained in place, on the device where it is.
        data: a data set, or a tensor x of shape [N, D] without held-out examples.
        epochs: passes over the training examples.
        batch_size: examples in a minibatch; the last one of an epoch may be smaller.
        learning_rate: Adam's step size.
        beta: weight of the KL term, a number or a schedule of ``annealing``, called with the
            epoch as a float; 1 is the ELBO, other values are not.
        seed: the seed of the shuffling and of the noise.
        progress: shows a bar with the ELBO, the reconstruction and the KL, in nats.
        transform: applied to each training batch, such as ``data.binarize`` for dynamic
            binarization: ``transform(x, generator)``.

    Raises:
        TypeError, ValueError: data that this model cannot explain, or a nonsensical setting.
        DivergenceError: the objective became NaN or infinite.

    Source: Kingma & Welling (2014), algorithm 1; Kingma & Ba (2015) for Adam.
    """
    for name, value in [("epochs", epochs), ("batch_size", batch_size)]:
        _door.positive_int(name, value)
    _door.finite_number("learning_rate", learning_rate, above=0)
    weight = beta if callable(beta) else constant(beta)
    x, valid = (data.train.x, data.valid.x) if isinstance(data, Dataset) else (data, None)
    if valid is not None:
        valid = model.check_data(transform(valid, as_generator(seed)) if transform else valid)
    rng = as_generator(seed)
    model.check_data(transform(x, rng) if transform else x)
    x = x.to(model.device)
    optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate)
    history = History()
    with Progress(epochs, shown=progress) as bar:
        for epoch in range(1, epochs + 1):
            total = torch.zeros(2, device=model.device)
            batches = torch.split(torch.randperm(len(x), generator=rng), batch_size)
            for step, index in enumerate(batches):
                batch = x[index.to(model.device)]
                batch = transform(batch, rng) if transform else batch
                terms = elbo_terms(model, batch, 1, rng)
                loss = -terms.weighted(weight(epoch - 1 + step / len(batches))).mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                total += torch.stack([terms.reconstruction.sum(), terms.kl.sum()]).detach()
            reconstruction, kl = (total / len(x)).tolist()
            record(history, reconstruction, kl, epoch)
            if valid is not None:
                history.valid_elbo.append(held_out_elbo(model, valid, seed))
            bar.update(epoch, history)
    return history


@torch.no_grad()
def held_out_elbo(model: VAE, x: Tensor, seed: int) -> float:
    """The mean ELBO of examples that training does not see, with the same noise at every call."""
    return elbo_terms(model, x.to(model.device), 1, seed).value.mean().item()


def record(history: History, reconstruction: float, kl: float, epoch: int) -> None:
    """Appends an epoch's means, and stops if they are not finite."""
    elbo = reconstruction - kl
    if not abs(elbo) < float("inf"):
        raise DivergenceError(
            f"the ELBO of epoch {epoch} is {elbo} (reconstruction {reconstruction}, KL {kl}); "
            f"try a smaller learning_rate, or look for extreme values in the data"
        )
    history.elbo.append(elbo)
    history.reconstruction.append(reconstruction)
    history.kl.append(kl)
