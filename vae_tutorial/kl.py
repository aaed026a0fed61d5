"""KL divergences from q(z|x) to the prior, in nats, one value per example."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions import Distribution, kl_divergence, register_kl

from vae_tutorial.distributions import DiagonalNormal, StandardNormal
from vae_tutorial.families import Posterior

__all__ = ["gaussian_kl", "kl_to_prior"]


def gaussian_kl(
    mu: Tensor,
    log_var: Tensor,
    prior_mu: Tensor | float | None = None,
    prior_log_var: Tensor | float | None = None,
) -> Tensor:
    """KL divergence between diagonal Gaussians, q = N(mu, exp(log_var)) from p, in nats.

    KL(q‖p) = ½ Σ_j [ exp(d_j) − 1 − d_j + (mu_j − prior_mu_j)² / exp(prior_log_var_j) ],
    with d = log_var − prior_log_var. Against the standard normal prior, the default, this is
    −½ Σ_j (1 + log σ_j² − μ_j² − σ_j²). ``expm1`` spares the cancellation in exp(d) − 1, so that
    float32 never returns a negative value where q is close to p.

    Args:
        mu, log_var: mean and log-variance of q, [..., J].
        prior_mu, prior_log_var: those of p, numbers or tensors that broadcast against q's; 0 each
            where they are not given.

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
    if prior_mu is None and prior_log_var is None:
        return 0.5 * (torch.expm1(log_var) - log_var + mu * mu).sum(-1)
    prior_mu, prior_log_var = (
        torch.as_tensor(0.0 if p is None else p, dtype=mu.dtype, device=mu.device)
        for p in (prior_mu, prior_log_var)
    )
    d, square = log_var - prior_log_var, (mu - prior_mu) ** 2 * torch.exp(-prior_log_var)
    return 0.5 * (torch.expm1(d) - d + square).sum(-1)


def kl_to_prior(q: Posterior, prior: Distribution, z: Tensor) -> Tensor:
    """KL(q(z|x)‖p(z)), [B]: exact where torch or this module knows a closed form, else the mean of
    log q(z|x) − log p(z) over the samples z [L, B, J], which is unbiased."""
    if isinstance(q, DiagonalNormal) and isinstance(prior, StandardNormal):
        return gaussian_kl(q.mu, q.log_var)
    try:
        return kl_divergence(q, prior)  # type: ignore[arg-type]
    except NotImplementedError:
        return (q.log_prob(z) - prior.log_prob(z)).mean(0)


@register_kl(DiagonalNormal, DiagonalNormal)
def _kl_of_two_normals(q: DiagonalNormal, p: DiagonalNormal) -> Tensor:
    return gaussian_kl(q.mu, q.log_var, p.mu, p.log_var)
