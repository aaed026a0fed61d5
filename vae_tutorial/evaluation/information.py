"""What a trained VAE has learned: active units, information, reconstructions, samples.

Everything is in nats and per example; the mean over the examples is taken by the caller. A model
is looked at in eval mode, whatever mode it is in.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from vae_tutorial.distributions import draw
from vae_tutorial.evaluation.evidence import MEMORY
from vae_tutorial.model import VAE
from vae_tutorial.objectives import sample_posterior
from vae_tutorial.randomness import RandomSource, as_generator
from vae_tutorial.support import inputs

__all__ = [
    "ActiveUnits",
    "active_units",
    "aggregate_kl",
    "mutual_information",
    "reconstructions",
    "sample_means",
]


@dataclass(frozen=True)
class ActiveUnits:
    """Which dimensions of z the encoder uses: ``activity`` [J] is the variance over the data of
    the posterior's mean, in squared units of z."""

    activity: Tensor
    threshold: float

    @property
    def active(self) -> Tensor:
        """activity > threshold, [J]."""
        return self.activity > self.threshold

    @property
    def count(self) -> int:
        """How many dimensions are active."""
        return int(self.active.sum())


def active_units(model: VAE, x: Tensor, *, threshold: float = 0.01) -> ActiveUnits:
    """The active units: A_j = Var_x(E_q(z|x)[z_j]) > threshold.

    The variance over the examples (divided by B − 1) is an unbiased estimate of that over the
    distribution they come from. A unit whose posterior is the prior for every x has activity 0.

    Args:
        model: the VAE.
        x: examples, [B, D], at least 2.
        threshold: 0.01 in the paper; the count hardly depends on it.

    Raises:
        TypeError, ValueError: x is no data for this model or has one example, or the threshold is
            negative.

    Source: Burda et al. (2016), section 5.2.
    """
    inputs.finite_number("threshold", threshold, at_least=0)
    if len(model.check_data(x)) < 2:
        raise ValueError("x must hold at least 2 examples, not 1: a single mean has no variance")
    with model.evaluating():
        return ActiveUnits(_mean(model, x).var(0), threshold)


def mutual_information(
    model: VAE, x: Tensor, *, num_samples: int = 1, rng: RandomSource = None
) -> Tensor:
    """How much z tells about x under data × q, [N]: the mean over the examples is I_q(x; z).

    I_q(x; z) = E_x KL(q(z|x)‖q(z)) = E_x KL(q(z|x)‖p(z)) − KL(q(z)‖p(z)), with the aggregate
    posterior q(z) = (1/N) Σ_n q(z|x_n), the mixture over the N examples themselves. Each example's
    value is the mean of log q(z|x) − log q(z) over its samples z ~ q(z|x).

    Unbiased for the information of z about *which of the N examples* it came from, which is at
    most log N: no value here can be larger. In expectation over the examples it is a lower bound
    of the information under the distribution they come from; a result near log N only says that
    N is too small to tell. Zero where q(z|x) ignores x.

    Args:
        model: the VAE.
        x: examples, [N, D]; the cost grows with N² (10,000 examples: about 10 s on a CPU).
        rng: seed or generator of the noise; None draws fresh noise.
        num_samples: samples of z for each example.

    Raises:
        TypeError, ValueError: x is no data for this model, or num_samples is below 1.

    Source: Hoffman & Johnson (2016); Poole et al. (2019) for the bound.
    """
    log_q_zx, log_q_z, _ = _log_densities(model, x, num_samples, rng)
    return (log_q_zx - log_q_z).mean(0)


def aggregate_kl(
    model: VAE, x: Tensor, *, num_samples: int = 1, rng: RandomSource = None
) -> Tensor:
    """How far the codes of the data as a whole are from the prior: a mean over [N] examples.

    KL(q(z)‖p(z)) = E_x KL(q(z|x)‖p(z)) − I_q(x; z), with q(z) as in :func:`mutual_information`.
    Each example's value is the mean of log q(z) − log p(z) over its samples z ~ q(z|x); the mean
    over the examples is unbiased for this KL divergence of the N-example mixture. A single value
    is no divergence and can be negative. In expectation over the examples it is an upper bound of
    the KL divergence under the distribution they come from. Zero where every q(z|x) is the prior.

    Arguments, errors and cost are those of :func:`mutual_information`; from the same seed the two
    values of an example add up to the same estimate of KL(q(z|x)‖p(z)).

    Source: Hoffman & Johnson (2016).
    """
    _, log_q_z, log_p_z = _log_densities(model, x, num_samples, rng)
    return (log_q_z - log_p_z).mean(0)


def _log_densities(
    model: VAE, x: Tensor, num_samples: int, rng: RandomSource
) -> tuple[Tensor, Tensor, Tensor]:
    """log q(z|x_n), log q(z) and log p(z), [L, N] each, at z ~ q(z|x_n)."""
    with model.evaluating():
        q, z = sample_posterior(model, x, num_samples, rng)  # z [L, N, J]
        rows = max(1, MEMORY // (4 * z[0].numel() * z.element_size()))
        log_q_z = z.new_empty(z.shape[:2])  # written part by part: see evidence.MEMORY
        parts = z.flatten(0, 1).split(rows), log_q_z.view(-1).split(rows)
        for part, out in zip(*parts, strict=True):
            every = part[:, None].expand(-1, len(x), -1)  # each z under the q of every example
            out.copy_(torch.logsumexp(q.log_prob(every), -1) - math.log(len(x)))
        return q.log_prob(z), log_q_z, model.prior.log_prob(z)


def reconstructions(model: VAE, x: Tensor) -> Tensor:
    """x seen through its code, [B, D]: the mean of p(x|z) at z = the mean of q(z|x). No noise."""
    with model.evaluating():
        return model.decode(_mean(model, model.check_data(x))).mean


def sample_means(model: VAE, n: int, *, rng: RandomSource = None) -> Tensor:
    """What the model makes up, [n, D]: the mean of p(x|z) at n draws z ~ p(z).

    The mean, as pictures of samples usually show it: a draw of x itself adds the noise of p(x|z).
    """
    inputs.positive_int("n", n)
    with model.evaluating():
        return model.decode(draw(model.prior, (n,), as_generator(rng))).mean


def _mean(model: VAE, x: Tensor) -> Tensor:
    """E_q[z] of each example, [B, J]."""
    mean: Tensor | None = getattr(model.encode(x), "mean", None)
    if mean is None:
        raise TypeError(
            f"this needs the mean of q(z|x), and {type(model.posterior).__name__} makes none; "
            f"give its distribution a property `mean`, [B, J]"
        )
    return mean
