"""What a training step minimizes, as one module: it can be compiled, run in bfloat16, and spread
over processes without the loop knowing."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from vae_tutorial.model import VAE
from vae_tutorial.objectives import Elbo, elbo_terms, iwae_terms
from vae_tutorial.randomness import forked_seed
from vae_tutorial.support import inputs
from vae_tutorial.training.processes import Workers

OwnObjective = Callable[[VAE, Tensor, Tensor], "Tensor | Elbo"]
Objective = str | OwnObjective
OBJECTIVES = ("elbo", "iwae")
PRECISIONS = ("float32", "bf16")


class Loss(nn.Module):
    """The sums over a batch of the objective and of its ELBO's two terms, in nats.

    Args:
        model: the VAE.
        objective: ``"elbo"`` (reconstruction − beta · kl), ``"iwae"`` (the bound with as many
            samples as the noise has; beta must be 1), or ``f(model, x, eps)``, which returns what
            to maximize, one value per example [B] or an ``Elbo``; eps is noise [L, B, J], which
            every function of ``objectives`` takes as its ``rng``.
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
        value = terms.weighted(beta) if isinstance(terms, Elbo) else terms
        if value.shape != x.shape[:1]:
            raise ValueError(
                f"the objective must return one value per example, shape [{len(x)}], not "
                f"{list(value.shape)}: fit takes the mean itself"
            )
        return value, terms if isinstance(terms, Elbo) else None


def check_objective(objective: object, beta: object, precision: object) -> None:
    """Refuses what :class:`Loss` does not know.

    Raises:
        ValueError: an unknown name, or a beta where the objective has none.
    """
    if not callable(objective):
        inputs.one_of("objective", objective, OBJECTIVES)
    if objective == "iwae" and beta != 1.0:
        raise ValueError(
            f"beta must be 1 with objective='iwae', not {beta!r}: it weights the KL term of an "
            f"ELBO, and the importance-weighted bound has none"
        )
    inputs.one_of("precision", precision, PRECISIONS)


Step = Callable[[Tensor, Tensor, Tensor], "tuple[Tensor, Tensor | None]"]


def prepared(
    loss: Loss, size: int | None, rng: torch.Generator, compile: bool, workers: Workers | None
) -> Step:
    """The loss as the loop calls it: spread over the workers, compiled, or as it is.

    Args:
        loss: the loss.
        size: examples in a batch of full size; that of the first batch if it is None.
        rng: the generator of the run. It decides what layers of one's own draw that take no
            generator, such as dropout; a model that ``VAE.mlp`` built has none.
        compile: runs batches of full size through torch.compile. Others, such as the smaller last
            one of an epoch, run as they are, since every new shape would be compiled anew.
        workers: this process among several.
    """
    whole = loss if workers is None else workers.share(loss)
    step = _compiled(whole, size, workers) if compile else whole
    if loss.model.settings is not None:
        return step
    rank = 0 if workers is None else workers.rank

    def seeded(x: Tensor, eps: Tensor, beta: Tensor) -> tuple[Tensor, Tensor | None]:
        copied = torch.Generator(rng.device)  # what the run draws next stays as it was
        copied.set_state(rng.get_state())
        seed = int(torch.randint(2**62, (), generator=copied, device=rng.device))
        with forked_seed(seed + rank, x.device):
            return step(x, eps, beta)

    return seeded


def _compiled(whole: nn.Module, size: int | None, workers: Workers | None) -> Step:
    fast = torch.compile(whole, dynamic=False)
    if size is not None and workers is not None:
        size = len(workers.part(torch.empty(size)))

    def step(x: Tensor, eps: Tensor, beta: Tensor) -> tuple[Tensor, Tensor | None]:
        nonlocal size
        size = size or len(x)
        return fast(x, eps, beta) if len(x) == size else whole(x, eps, beta)

    return step
