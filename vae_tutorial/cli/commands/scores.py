"""Means over examples with their standard errors."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from vae_tutorial.model import VAE
from vae_tutorial.objectives import elbo
from vae_tutorial.randomness import as_generator

ROWS = 5000  # examples that are scored at a time


def mean(values: Tensor) -> dict[str, float]:
    """The mean over the examples and its standard error, sd / √N."""
    values = values.double()
    return {
        "mean": float(values.mean()),
        "standard_error": float(values.std() / math.sqrt(len(values))),
    }


@torch.no_grad()
def elbo_terms(model: VAE, x: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """Reconstruction and KL of each example, [N] each, from one sample of z."""
    rng = as_generator(seed)
    terms = [elbo(model, rows, 1, rng) for rows in x.split(ROWS)]
    return torch.cat([t.reconstruction for t in terms]), torch.cat([t.kl for t in terms])


def elbo_scores(model: VAE, x: Tensor, seed: int = 0) -> dict[str, dict[str, float]]:
    """The ELBO and its two terms. One sample of z for each example is unbiased, and its noise is
    part of the standard errors."""
    reconstruction, kl = elbo_terms(model, x, seed)
    return {
        "elbo": mean(reconstruction - kl),
        "reconstruction": mean(reconstruction),
        "kl": mean(kl),
    }
