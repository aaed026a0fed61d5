"""Objectives: pure functions, in nats, summed over dimensions, one value per example.

The mean over examples is taken once, by the caller. An ELBO has no beta; a weighted objective is
made from it by :meth:`Elbo.weighted`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vae_tutorial import _door
from vae_tutorial.model import VAE
from vae_tutorial.runtime import RandomSource, standard_normal


def gaussian_kl(
    mu: Tensor,
    log_var: Tensor,
    prior_mu: Tensor | float = 0.0,
    prior_log_var: Tensor | float = 0.0,
) -> Tensor:
    """KL divergence between diagonal Gaussians, q = N(mu, exp(log_var)) from p, in nats.

    KL(q‖p) = ½ Σ_j [ exp(d_j) − 1 − d_j + (mu_j − prior_mu_j)² / exp(prior_log_var_j) ],
    with d = log_var − prior_log_var. Against the standard normal prior, the default, this is
    −½ Σ_j (1 + log σ_j² − μ_j² − σ_j²). ``expm1`` keeps full precision where q is close to p.

    Args:
        mu, log_var: mean and log-variance of q, [..., J].
        prior_mu, prior_log_var: those of p, numbers or tensors that broadcast against q's.

    Returns:
        [...], summed over the last dimension; never negative, zero exactly where q = p.

    Raises:
        ValueError: mu and log_var differ in shape.

    Source: Kingma & Welling (2014), appendix B; derived in the chapter on the KL divergence.
    """
    if mu.shape != log_var.shape:
        raise ValueError(
            f"mu and log_var must have the same shape, not {list(mu.shape)} and "
            f"{list(log_var.shape)}; they are the two heads of one encoder"
        )
    prior_log_var = torch.as_tensor(prior_log_var, dtype=mu.dtype, device=mu.device)
    d = log_var - prior_log_var
    return 0.5 * (torch.expm1(d) - d + (mu - prior_mu) ** 2 * torch.exp(-prior_log_var)).sum(-1)


@dataclass(frozen=True)
class Elbo:
    """The two terms of the ELBO, log p(x) ≥ reconstruction − kl, in nats, one value per example.

    ``reconstruction`` is E_q[log p(x|z)], estimated; ``kl`` is KL(q(z|x)‖p(z)), exact.
    """

    reconstruction: Tensor
    kl: Tensor

    @property
    def value(self) -> Tensor:
        """The ELBO: reconstruction − kl."""
        return self.reconstruction - self.kl

    def weighted(self, beta: float) -> Tensor:
        """reconstruction − beta · kl: a training objective; for beta < 1 no bound on log p(x)."""
        return self.reconstruction - beta * self.kl

    def mean(self) -> Elbo:
        """Both terms averaged over the examples."""
        return Elbo(self.reconstruction.mean(), self.kl.mean())


def elbo(model: VAE, x: Tensor, num_samples: int = 1, rng: RandomSource = None) -> Elbo:
    """The evidence lower bound of each example, by the reparameterization trick.

    ELBO(x) = E_q[log p(x|z)] − KL(q(z|x)‖p(z)) ≈ (1/L) Σ_l log p(x|z_l) − KL(q(z|x)‖p(z)),
    with z_l = mu + sigma · eps_l and eps_l ~ N(0, I).

    An unbiased estimate of the ELBO, which is a lower bound of log p(x) and equals it exactly when
    q(z|x) is the posterior p(z|x). Differentiable in the parameters of both networks.

    Args:
        model: the VAE.
        x: examples, [B, D], in the support of the decoder.
        num_samples: L, the samples of z for each example.
        rng: seed or generator of the noise; None draws fresh noise at each call.

    Returns:
        ``Elbo`` with both terms of shape [B], in nats.

    Raises:
        TypeError, ValueError: x is no data for this model, or num_samples is below 1.

    Source: Kingma & Welling (2014), equations 7 and 10 (the SGVB estimator B).
    """
    _door.positive_int("num_samples", num_samples)
    return elbo_terms(model, model.check_data(x), num_samples, rng)


def elbo_terms(model: VAE, x: Tensor, num_samples: int, rng: RandomSource) -> Elbo:
    """:func:`elbo` for data that has been checked: what a training loop calls."""
    q = model.encode(x)
    eps = standard_normal((num_samples, *q.mu.shape), rng, like=q.mu)  # [L, B, J]
    z = q.mu + q.sigma * eps
    reconstruction = model.decode(z).log_prob(x).mean(0)  # [L, B] -> [B]
    return Elbo(reconstruction, gaussian_kl(q.mu, q.log_var))
