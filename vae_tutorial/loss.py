"""What a training step minimizes, as one module: it can be compiled, run in bfloat16, and spread
over processes without the loop knowing."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from vae_tutorial import _door
from vae_tutorial.distributed import Workers
from vae_tutorial.model import VAE
from vae_tutorial.objectives import Elbo, elbo_terms, iwae_terms

OwnObjective = Callable[[VAE, Tensor, Tensor], "Tensor | Elbo"]
Objective = str | OwnObjective
OBJECTIVES = ("elbo", "iwae")
PRECISIONS = ("float32", "bf16")


class Loss(nn.Module):
    """The sums over a batch of the objective and of its ELBO's two terms, in nats.

    Args:
        model: the VAE.
        objective: ``"elbo"`` (reconstruction − beta · kl), ``"iwae"`` (the bound with as many
            samples as the noise has; beta must be 1), or ``f(model, x, eps)``, which returns one
            value per example to maximize, or an ``Elbo``; eps is noise [L, B, J], which every
            function of ``objectives`` takes as its ``rng``.
        precision: ``"bf16"`` runs the networks' matrix products in bfloat16 and everything else,
            the parameters above all, in float32.
    """

    def __init__(self, model: VAE, objective: Objective, precision: str) -> None:
        super().__init__()
        self.model, self.objective, self.precision = model, objective, precision

    def forward(self, x: Tensor, eps: Tensor, beta: Tensor) -> tuple[Tensor, Tensor | None]:
        """(objective, [reconstruction, kl] without gradient or None), summed over the batch."""
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            value, terms = self._value(x, eps, beta)
        if terms is None:
            return value.sum(), None
        return value.sum(), torch.stack([terms.reconstruction.sum(), terms.kl.sum()]).detach()

    def _value(self, x: Tensor, eps: Tensor, beta: Tensor) -> tuple[Tensor, Elbo | None]:
        if self.objective == "iwae":
            return iwae_terms(self.model, x, len(eps), eps)
        if self.objective == "elbo":
            terms: Tensor | Elbo = elbo_terms(self.model, x, len(eps), eps)
        else:
            assert callable(self.objective)
            terms = self.objective(self.model, x, eps)
        return (terms.weighted(beta), terms) if isinstance(terms, Elbo) else (terms, None)


def check_objective(objective: object, beta: object, precision: object) -> None:
    """Refuses what :class:`Loss` does not know.

    Raises:
        ValueError: an unknown name, or a beta where the objective has none.
    """
    if not callable(objective):
        _door.one_of("objective", objective, OBJECTIVES)
    if objective == "iwae" and beta != 1.0:
        raise ValueError(
            f"beta must be 1 with objective='iwae', not {beta!r}: it weights the KL term of an "
            f"ELBO, and the importance-weighted bound has none"
        )
    _door.one_of("precision", precision, PRECISIONS)


Step = Callable[[Tensor, Tensor, Tensor], "tuple[Tensor, Tensor | None]"]


def prepared(loss: Loss, batch_size: int, compile: bool, workers: Workers | None) -> Step:
    """The loss as the loop calls it: spread over the workers, compiled, or as it is.

    Only batches of full size run through torch.compile; others, such as the smaller last one of an
    epoch, run as they are, since every new shape would be compiled anew.
    """
    whole: nn.Module = loss
    if workers is not None:
        whole = workers.share(loss)
        batch_size = len(workers.part(torch.empty(batch_size)))
    if not compile:
        return whole
    fast = torch.compile(whole, dynamic=False)

    def step(x: Tensor, eps: Tensor, beta: Tensor) -> tuple[Tensor, Tensor | None]:
        return fast(x, eps, beta) if len(x) == batch_size else whole(x, eps, beta)

    return step
