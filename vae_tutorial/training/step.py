"""One step of training as one call: the objective of a batch and its gradient. It can be compiled,
run in bfloat16, and spread over processes without the loop knowing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn

from vae_tutorial.model import VAE
from vae_tutorial.objectives import Elbo, elbo, log_mean_exp, sample_posterior
from vae_tutorial.randomness import forked_seed
from vae_tutorial.support import inputs
from vae_tutorial.support.batch import spread_over
from vae_tutorial.training.processes import Workers

Objective = Callable[..., "Tensor | Elbo | tuple[Tensor, Elbo]"]
PRECISIONS = ("float32", "bf16")


def iwae(model: VAE, x: Tensor, *, eps: Tensor) -> tuple[Tensor, Elbo]:
    """The importance-weighted bound, and from the same samples an unbiased estimate of the two
    terms of the ELBO, in which the KL is sampled too."""
    q, z = sample_posterior(model, x, len(eps), eps=eps)
    log_p = model.log_likelihood(x, z)  # [k, B]
    log_ratio = q.log_prob(z) - model.prior.log_prob(z)
    return log_mean_exp(log_p - log_ratio), Elbo(log_p.mean(0), log_ratio.mean(0))


OBJECTIVES: dict[str, Objective] = {"elbo": elbo, "iwae": iwae}


def find_objective(objective: str | Objective, beta: object) -> Objective:
    """The objective of that name, or one of one's own.

    Raises:
        ValueError: an unknown name, or a beta where the objective has none.
    """
    if callable(objective):
        return objective
    if inputs.one_of("objective", objective, OBJECTIVES) == "iwae" and beta != 1.0:
        raise ValueError(
            f"beta must be 1 with objective='iwae', not {beta!r}: it weights the KL term of an "
            f"ELBO, and the importance-weighted bound has none"
        )
    return OBJECTIVES[objective]


class BatchObjective(nn.Module):
    """The sums over a batch of the objective and of its ELBO's two terms, in nats.

    The objective is a function f(model, x, eps=eps) of examples [B, D] and noise [L, B, J], as
    those of ``objectives`` are. It returns what to maximize, one value per example [B]; an
    ``Elbo``, of which reconstruction − beta · kl is maximized; or a value and an ``Elbo``, which
    is only recorded. ``weighted`` says that beta is not 1 throughout.
    """

    def __init__(self, model: VAE, objective: Objective, weighted: bool = False) -> None:
        super().__init__()
        self.model, self.objective, self.weighted = model, objective, weighted

    def forward(self, x: Tensor, eps: Tensor, beta: Tensor) -> tuple[Tensor, Tensor | None]:
        """(objective, [reconstruction, kl] without gradient or None), summed over the batch."""
        found = self.objective(self.model, x, eps=eps)
        if isinstance(found, Elbo):
            reconstruction, kl = _sum(found.reconstruction, x), _sum(found.kl, x)
            terms = torch.stack([reconstruction.detach(), kl.detach()])
            return reconstruction - beta * kl, terms
        if self.weighted:
            raise ValueError(
                f"beta must be 1 with an objective that returns {type(found).__name__}: it "
                f"weights the KL of an Elbo; let the objective return one, or leave beta out"
            )
        if isinstance(found, Tensor):
            return _sum(found, x), None
        value, elbo = found
        terms = torch.stack([elbo.reconstruction.sum(), elbo.kl.sum()])
        return _sum(value, x), terms.detach()


def _sum(values: Tensor, x: Tensor) -> Tensor:
    """The sum over the examples, of what has to be one value for each."""
    if values.shape != x.shape[:1]:
        raise ValueError(
            f"the objective must return one value per example, shape [{len(x)}], not "
            f"{list(values.shape)}: fit takes the mean itself"
        )
    return values.sum()


class Sums(NamedTuple):
    """What a step found, summed over so many examples: the objective, and [reconstruction, kl]."""

    objective: Tensor
    terms: Tensor | None
    examples: int


class Step:
    """Computes the gradient of the mean objective of a batch, over all processes.

    Args:
        objective: what is maximized.
        size: examples in a batch of full size; that of the first batch if it is None.
        seed: decides, with the number of the step, what layers draw that take no generator, such
            as dropout.
        compile: runs batches of full size through torch.compile. Others, such as the smaller last
            one of an epoch, run as they are, since every new shape would be compiled anew.
        workers: this process among all.
    """

    def __init__(
        self,
        objective: BatchObjective,
        size: int | None,
        seed: int,
        compile: bool,
        workers: Workers,
    ) -> None:
        self.size, self.seed, self.workers = size, seed, workers
        self.model = objective.model
        self.objective = workers.share(objective)
        self.compiled = torch.compile(self.objective, dynamic=False) if compile else None

    def __call__(self, number: int, x: Tensor, eps: Tensor, beta: float) -> Sums:
        """The sums over this process's part of the whole batch x [B, D] with noise eps [L, B, J];
        the gradient is left in the parameters."""
        self.size = self.size or len(x)
        objective: Callable[..., tuple[Tensor, Tensor | None]] = self.objective
        if self.compiled is not None and len(x) == self.size:
            objective = self.compiled
        workers, scale = self.workers, self.workers.scale(len(x))
        part, noise = workers.part(x), workers.part(eps, dim=1)
        weight = torch.tensor(beta, device=x.device)
        with self._surroundings(number, counted=scale > 0):
            value, terms = objective(part, noise, weight)
        value.backward(gradient=torch.tensor(-scale, device=x.device))
        return Sums(value.detach(), terms, len(part) if scale else 0)

    @contextmanager
    def _surroundings(self, number: int, counted: bool) -> Iterator[None]:
        """Where the objective is computed: with a seed for every step and process, without looking
        at data that were checked before, and with ``batch_mean`` taken over all processes."""
        seed = hash((self.seed, number, self.workers.rank)) % 2**63
        self.model.checks_data = False
        try:
            with forked_seed(seed, self.model.device), spread_over(self.workers, counted):
                yield
        finally:
            self.model.checks_data = True
