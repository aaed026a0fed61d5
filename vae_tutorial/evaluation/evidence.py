"""log p(x) by importance sampling, in bounded memory, with an error bar that says when it lies.

Everything is per example and in nats, and summed up in double precision.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from vae_tutorial.distributions import BernoulliLogits
from vae_tutorial.evaluation.pareto import pareto_k
from vae_tutorial.families import Posterior
from vae_tutorial.model import VAE
from vae_tutorial.randomness import RandomSource, as_generator, standard_normal
from vae_tutorial.support import inputs
from vae_tutorial.support.devices import keep_freed_memory

MEMORY = 2**25
"""Bytes that one decoder call may take; more is not faster. Results are written into a tensor that
is there before the first call: small tensors that outlive a call would scatter the memory that the
next one needs, and the process would grow without end."""


@dataclass(frozen=True)
class Evidence:
    """An estimate of log p(x) for each example, [B], in nats, and how far to trust it.

    ``value`` is log p̂(x). ``standard_error`` is that of ``value``, by the delta method:
    sd(w) / (√K mean(w)). ``effective_sample_size`` is (Σ w)² / Σ w², from 1 to K.
    ``pareto_k`` is the shape of the tail of the weights (see ``evaluation.pareto``).
    """

    value: Tensor
    standard_error: Tensor
    effective_sample_size: Tensor
    pareto_k: Tensor
    num_samples: int

    @property
    def trusted(self) -> Tensor:
        """Whether the standard error can be trusted, [B]: pareto_k < ½, where the weights have a
        finite variance.

        Where it cannot, the few largest weights carry the estimate, larger ones were not drawn
        yet, and the true log p(x) is likely to be above ``value`` by more than its error says.
        A warning, not a proof: a tail that no sample has reached is not seen. (The threshold of
        0.7 that is often named is for weights whose tail was smoothed; here nothing is.)

        Source: Vehtari et al. (2024), sections 3.2.3 and 3.2.4.
        """
        return self.pareto_k < 0.5


def log_evidence(
    model: VAE,
    x: Tensor,
    *,
    num_samples: int = 5000,
    rng: RandomSource = None,
    chunk: int | None = None,
) -> Evidence:
    """log p(x) of each example, by importance sampling from q(z|x).

    p̂(x) = (1/K) Σ_k w_k, with w_k = p(x, z_k) / q(z_k|x) and z_k ~ q(z|x), and
    log p̂(x) = logsumexp_k log w_k − log K.

    p̂ is unbiased for p(x). Its logarithm is biased low in expectation (Jensen), by about half the
    squared standard error; it is exact for every K where q(z|x) is the posterior. It is the value
    of :func:`vae_tutorial.objectives.iwae_bound` with as many samples. The model is scored in eval
    mode, whatever mode it is in.

    Args:
        model: the VAE.
        x: examples, [B, D], in the support of the decoder.
        num_samples: K, the samples of z for each example, at least 2.
        rng: seed or generator of the noise; None draws fresh noise.
        chunk: how many pairs of an example and a sample are decoded at a time; by default what
            fits into 32 MiB. Noise is drawn example by example, so the result is the same for any
            chunk, up to rounding.

    Returns:
        :class:`Evidence`, each field [B], in double precision.

    Raises:
        TypeError, ValueError: x is no data for this model, or a number is too small.

    Source: Rezende et al. (2014); Burda et al. (2016), section 5.
    """
    sample_count(num_samples)
    model.check_data(x)
    keep_freed_memory()
    rng, chunk = as_generator(rng), pairs_at_a_time(model, x, chunk)
    size = max(1, chunk // num_samples)
    together = max(size, MEMORY // (64 * num_samples))  # examples whose weights are summed up
    fields = torch.empty(4, len(x), dtype=torch.double, device=x.device)  # see MEMORY
    with model.evaluating():
        for rows, out in zip(x.split(together), fields.split(together, dim=1), strict=True):
            log_w = fields.new_empty(len(rows), num_samples)
            for part, weights in zip(rows.split(size), log_w.split(size), strict=True):
                q, eps = model.encode(part), noise(model, part, num_samples, rng)
                weights.copy_(sampled_log_weights(model, part, q, eps, chunk).T)
            out.copy_(torch.stack(summary(log_w.T)))
    return Evidence(fields[0], fields[1], fields[2], fields[3], num_samples)


def summary(log_w: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """value, standard_error, effective_sample_size and pareto_k, each [B], for log w [K, B].

    Only ratios of weights, w / mean(w), are exponentiated.
    """
    K = len(log_w)
    value = torch.logsumexp(log_w, 0) - math.log(K)
    ratio = torch.exp(log_w - value)
    standard_error = ratio.std(0) / math.sqrt(K)
    return value, standard_error, K**2 / (ratio**2).sum(0), pareto_k(log_w)


def noise(model: VAE, x: Tensor, num_samples: int, rng: torch.Generator) -> Tensor:
    """eps ~ N(0, I), [K, B, J], drawn example by example: no other split of the examples changes
    what each of them gets."""
    shape = (num_samples, model.noise_dim)
    return torch.stack([standard_normal(shape, rng, like=x) for _ in x], 1)


def sampled_log_weights(model: VAE, x: Tensor, q: Posterior, eps: Tensor, chunk: int) -> Tensor:
    """log w, [K, B], for noise eps [K, B, J], with at most ``chunk`` samples of z decoded at a
    time (or one for each example). Only the decoder is called in parts: it takes the memory."""
    size = max(1, chunk // len(x))
    size = math.ceil(len(eps) / math.ceil(len(eps) / size))  # parts of about the same size
    z = q.from_noise(eps)
    log_w = (model.prior.log_prob(z) - q.log_prob(z)).double()
    for part, out in zip(z.split(size), log_w.split(size), strict=True):
        out += _log_likelihood(model, x, part)
    return log_w


def _log_likelihood(model: VAE, x: Tensor, z: Tensor) -> Tensor:
    """log p(x|z), [L, B], in the cheapest way that loses no more than rounding."""
    p = model.decode(z)
    if isinstance(p, BernoulliLogits) and x.device.type == "cpu":
        return p.log_prob_without_gradient(x)
    return p.log_prob(x)


def pairs_at_a_time(model: VAE, x: Tensor, chunk: int | None) -> int:
    """How many samples of z to decode at a time: ``chunk``, or what fits into ``MEMORY`` if a
    decoder holds ten numbers for each value of x."""
    if chunk is not None:
        return inputs.positive_int("chunk", chunk)
    numbers = 10 * (x.shape[1] + model.latent_dim)
    return max(1, MEMORY // (numbers * x.element_size()))


def sample_count(num_samples: int) -> int:
    """Refuses fewer than two samples: one has no standard error."""
    if inputs.positive_int("num_samples", num_samples) < 2:
        raise ValueError(
            "num_samples must be at least 2, not 1: one sample has no standard error; "
            "for a single sample use objectives.iwae_bound"
        )
    return num_samples
