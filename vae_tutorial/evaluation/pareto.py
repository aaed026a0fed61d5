"""The Pareto-k diagnostic: how heavy is the tail of a set of importance weights?

Where importance weights have no finite variance, a Monte Carlo mean of them looks calm and its
standard error is far too small. Their largest values give this away: they follow a generalized
Pareto distribution, whose shape k says which moments are finite. This module imports nothing of
the package.

Source: Vehtari et al. (2024), "Pareto smoothed importance sampling".
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

FLAT = 1e-3  # log-weights closer than this differ by rounding, not by a tail


def tail_size(num_samples: int) -> int:
    """M = ⌈min(0.2 K, 3 √K)⌉, how many of the K largest weights count as the tail."""
    return math.ceil(min(0.2 * num_samples, 3 * math.sqrt(num_samples)))


def fit_generalized_pareto(excess: Tensor) -> tuple[Tensor, Tensor]:
    """The shape k and scale sigma of p(y) = (1/sigma) (1 + k y / sigma)^(−1/k − 1), from samples.

    With theta = −k/sigma the likelihood at its best k has one parameter left:
    k(theta) = mean log(1 − theta y) and ℓ(theta) = M [log(−theta / k(theta)) − k(theta) − 1].
    The estimate of theta is its mean under weights proportional to exp ℓ on a grid, which is the
    posterior mean under a prior that depends on the data: nearly unbiased and as efficient as
    maximum likelihood, and it exists for all data.

    Args:
        excess: y, [M, B]: B sets of M samples, none below 0, and three quarters of each set
            above 0.

    Returns:
        k and sigma, each [B]; the q-th moment of y is finite where k < 1/q.

    Source: Zhang & Stephens (2009); the grid has the 30 + √M points of Vehtari et al. (2024).
    """
    y = excess.sort(dim=0).values
    count = len(y)
    size = 30 + math.isqrt(count)
    quartile, largest = y[math.floor(count / 4 + 0.5) - 1], y[-1]
    j = torch.arange(1, size + 1, dtype=y.dtype, device=y.device)[:, None]
    theta = 1 / largest + (1 - torch.sqrt(size / (j - 0.5))) / (3 * quartile)  # [grid, B]
    k = torch.log1p(-theta * y[:, None]).mean(0)  # [grid, B]
    log_likelihood = count * (torch.log(-theta / k) - k - 1)
    theta = (torch.softmax(log_likelihood, 0) * theta).sum(0)
    k = torch.log1p(-theta * y).mean(0)
    return k, -k / theta


def pareto_k(log_w: Tensor) -> Tensor:
    """The shape k of the tail of the weights w = exp(log_w), for log_w [K, B], [B].

    A generalized Pareto distribution is fitted to what the M largest weights exceed the next one
    by, and its k is drawn towards ½ as if by ten more observations, k ← (M k + 5) / (M + 10).
    The variance of the weights is finite where k < ½ and their mean where k < 1.

    −inf where the tail is flat: weights that are equal up to rounding, as where q(z|x) is the
    posterior. +inf where there is no telling: fewer than 21 samples, or a tail so long that a
    quarter of it vanishes beside its largest weight.

    Source: Vehtari et al. (2024).
    """
    size = tail_size(len(log_w))
    if size < 5:
        return torch.full_like(log_w[0], math.inf)
    tail = torch.topk(log_w.double(), size + 1, dim=0).values  # falling
    scaled = torch.exp(tail - tail[0])  # the largest weight is 1
    excess = scaled[:-1] - scaled[-1]
    k, _ = fit_generalized_pareto(excess)
    k = (size * k + 10 * 0.5) / (size + 10)
    k = torch.where(torch.isfinite(k), k, math.inf)
    return torch.where(tail[0] - tail[-1] < FLAT, -math.inf, k).to(log_w.dtype)
