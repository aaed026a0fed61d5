"""The gap between log p(x) and the ELBO, taken apart.

log p(x) − L[q] = (log p(x) − L[q*]) + (L[q*] − L[q]), where q is the encoder's q(z|x) and q* the
best member of its family for this one x. The first part is the approximation gap, what the family
costs; the second is the amortization gap, what it costs that one network serves all x.

Source: Cremer et al. (2018).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from vae_tutorial.evaluation.evidence import (
    Evidence,
    noise,
    pairs_at_a_time,
    sample_count,
    sampled_log_weights,
    summary,
)
from vae_tutorial.families import Posterior
from vae_tutorial.model import VAE
from vae_tutorial.objectives import log_weights
from vae_tutorial.randomness import RandomSource, as_generator, standard_normal
from vae_tutorial.support import inputs

SAMPLES = 16  # of z, in one step of the optimization
LEARNING_RATE = 0.1  # in units of the posterior, such as standard deviations of z


@dataclass(frozen=True)
class Gap:
    """log p(x) − ELBO and its two parts, per example, [B], in nats, estimated.

    ``evidence`` estimates log p(x), ``best`` is the estimate of L[q*] and ``encoder`` that of
    L[q]; ``approximation_error`` and ``amortization_error`` are the standard errors of the two
    parts. What is left is biased in a known direction. log p̂ is low in expectation, and lowers the
    approximation gap and the total. The q* that was found is not quite the best one, and its ELBO,
    measured on samples that it was not optimized on, is at most the maximum in expectation: this
    raises the approximation gap and lowers the amortization gap.
    """

    evidence: Evidence
    best: Tensor
    encoder: Tensor
    approximation_error: Tensor
    amortization_error: Tensor

    @property
    def approximation(self) -> Tensor:
        """log p(x) − L[q*] = KL(q*‖p(z|x)): the family is too small. Never negative, and zero
        where the family holds the posterior."""
        return self.evidence.value - self.best

    @property
    def amortization(self) -> Tensor:
        """L[q*] − L[q]: the encoder misses the best q for this x. Zero where it finds it; the
        estimate falls below zero only by noise or an unfinished optimization."""
        return self.best - self.encoder

    @property
    def total(self) -> Tensor:
        """log p(x) − L[q] = approximation + amortization."""
        return self.evidence.value - self.encoder


def gap(
    model: VAE,
    x: Tensor,
    *,
    num_samples: int = 5000,
    steps: int = 500,
    rng: RandomSource = None,
    chunk: int | None = None,
) -> Gap:
    """Takes log p(x) − ELBO apart into approximation and amortization gap, for each example.

    q* is found by :func:`best_posterior`. Then K fresh samples eps ~ N(0, I) serve both q and q*:
    L is the mean of log w, and log p̂(x) the log-mean of w under q*, the better proposal.

    Args:
        model: the VAE; its parameters stay as they are.
        x: examples, [B, D], in the support of the decoder.
        num_samples: K, the samples that the gaps are measured on, at least 2.
        steps: gradient steps on q for each example.
        rng: seed or generator of the noise; None draws fresh noise.
        chunk: how many pairs of an example and a sample are decoded at a time; by default what
            fits into 32 MiB.

    Returns:
        :class:`Gap`, each field [B], in double precision; it says which way each part is biased.

    Raises:
        TypeError, ValueError: x is no data for this model, or a number is too small.

    Source: Cremer et al. (2018).
    """
    sample_count(num_samples)
    model.check_data(x)
    inputs.positive_int("steps", steps)
    rng, chunk = as_generator(rng), pairs_at_a_time(model, x, chunk)
    fields = torch.empty(8, len(x), dtype=torch.double, device=x.device)
    start = 0
    for rows in x.split(max(1, chunk // SAMPLES)):
        best = best_parameters(model, rows, steps=steps, rng=rng)
        with model.evaluating():
            encoded = model.posterior_parameters(rows)
            for i in torch.arange(len(rows)).split(max(1, chunk // num_samples)):
                eps = noise(model, rows[i], num_samples, rng)
                log_w, log_w_best = (
                    sampled_log_weights(model, rows[i], model.posterior(p[i]), eps, chunk)
                    for p in (encoded, best)
                )
                fields[:, start : start + len(i)] = _measured(log_w, log_w_best)
                start += len(i)
    evidence = Evidence(fields[0], fields[1], fields[2], fields[3], num_samples)
    return Gap(evidence, *fields[4:])


def best_posterior(
    model: VAE, x: Tensor, *, steps: int = 500, rng: RandomSource = None
) -> Posterior:
    """q*(z), the member of the encoder's family with the largest ELBO for each x.

    The parameters of each q(z|x) are freed from the encoder and moved by Adam on fresh noise, from
    where the encoder left them, with a step that falls to zero along a cosine. The gradient
    leaves out the score of q*, which is zero in expectation, so the noise vanishes where q* is the
    posterior. Examples do not affect each other. Parameters that a posterior has of its own,
    shared by all x, stay as they are.

    Args:
        model: the VAE; its parameters stay as they are, and get no gradients.
        x: examples, [B, D].
        steps: gradient steps; a mean can move by about steps / 20 of the encoder's standard
            deviations, and 0 returns the encoder's q(z|x).
        rng: seed or generator of the noise; None draws fresh noise.

    Raises:
        TypeError, ValueError: x is no data for this model, or steps is negative.

    Source: Cremer et al. (2018); Roeder et al. (2017) for the gradient.
    """
    if steps != 0:
        inputs.positive_int("steps", steps)
    return model.posterior(best_parameters(model, model.check_data(x), steps=steps, rng=rng))


def best_parameters(model: VAE, x: Tensor, *, steps: int, rng: RandomSource) -> Tensor:
    """The parameters of :func:`best_posterior`, [B, P]."""
    rng = as_generator(rng)
    with model.evaluating():
        start = model.posterior_parameters(x)
        measure = getattr(model.posterior, "units", torch.ones_like)
        units = measure(start)  # in which the steps are counted
        moved = torch.zeros_like(start).requires_grad_()
        adam = torch.optim.Adam([moved], lr=LEARNING_RATE)
        for step in range(steps):
            rate = LEARNING_RATE * 0.5 * (1 + math.cos(math.pi * step / steps))
            adam.param_groups[0]["lr"] = rate
            eps = standard_normal((SAMPLES, len(x), model.noise_dim), rng, like=x)
            with torch.enable_grad():
                q = model.posterior(start + units * moved)
                loss = -log_weights(model, x, q.detached(), q.from_noise(eps)).mean(0).sum()
                loss.backward(inputs=[moved])
            adam.step()
            adam.zero_grad()
    return start + units * moved.detach()


def _measured(log_w: Tensor, log_w_best: Tensor) -> Tensor:
    """The fields of a :class:`Gap`, [8, B], those of its evidence first, from log w [K, B] under
    q and under q*. log p̂ − L varies by w / mean(w) − log w, to first order."""
    K = len(log_w)
    ratio = K * torch.softmax(log_w_best, 0)
    approximation_error = (ratio - log_w_best).std(0) / math.sqrt(K)
    amortization_error = (log_w_best - log_w).std(0) / math.sqrt(K)
    means = log_w_best.mean(0), log_w.mean(0)
    return torch.stack([*summary(log_w_best), *means, approximation_error, amortization_error])
