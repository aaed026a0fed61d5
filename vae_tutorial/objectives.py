"""Objectives: pure functions, in nats, summed over dimensions, one value per example.

The mean over examples is taken once, by the caller. An ELBO has no beta; a weighted objective is
made from it by :meth:`Elbo.weighted`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import Distribution, kl_divergence

from vae_tutorial.distributions import DiagonalNormal, Posterior
from vae_tutorial.model import VAE
from vae_tutorial.randomness import Noise, standard_normal
from vae_tutorial.support import inputs


def gaussian_kl(
    mu: Tensor,
    log_var: Tensor,
    prior_mu: Tensor | float = 0.0,
    prior_log_var: Tensor | float = 0.0,
) -> Tensor:
    """KL divergence between diagonal Gaussians, q = N(mu, exp(log_var)) from p, in nats.

    KL(q‖p) = ½ Σ_j [ exp(d_j) − 1 − d_j + (mu_j − prior_mu_j)² / exp(prior_log_var_j) ],
    with d = log_var − prior_log_var. Against the standard normal prior, the default, this is
    −½ Σ_j (1 + log σ_j² − μ_j² − σ_j²). ``expm1`` spares the cancellation in exp(d) − 1, so that
    float32 never returns a negative value where q is close to p.

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

    def weighted(self, beta: float | Tensor) -> Tensor:
        """reconstruction − beta · kl: a training objective; for beta < 1 no bound on log p(x)."""
        return self.reconstruction - beta * self.kl

    def mean(self) -> Elbo:
        """Both terms averaged over the examples."""
        return Elbo(self.reconstruction.mean(), self.kl.mean())


def elbo(model: VAE, x: Tensor, num_samples: int = 1, rng: Noise = None) -> Elbo:
    """The evidence lower bound of each example, by the reparameterization trick.

    ELBO(x) = E_q[log p(x|z)] − KL(q(z|x)‖p(z)) ≈ (1/L) Σ_l log p(x|z_l) − KL(q(z|x)‖p(z)),
    with z_l = mu + sigma · eps_l and eps_l ~ N(0, I).

    An unbiased estimate of the ELBO, which is a lower bound of log p(x) and equals it exactly when
    q(z|x) is the posterior p(z|x). Differentiable in the parameters of both networks.

    Args:
        model: the VAE.
        x: examples, [B, D], in the support of the decoder.
        num_samples: L, the samples of z for each example.
        rng: seed or generator of the noise, or the noise itself, [L, B, J]; None draws fresh
            noise at each call.

    Returns:
        ``Elbo`` with both terms of shape [B], in nats.

    Raises:
        TypeError, ValueError: x is no data for this model, or num_samples is below 1.

    Source: Kingma & Welling (2014), equations 7 and 10 (the SGVB estimator B).
    """
    inputs.positive_int("num_samples", num_samples)
    return elbo_terms(model, model.check_data(x), num_samples, rng)


def elbo_terms(model: VAE, x: Tensor, num_samples: int, rng: Noise) -> Elbo:
    """:func:`elbo` for data that has been checked: what a training loop calls."""
    q, z = posterior_samples(model, x, num_samples, rng)
    reconstruction = model.decode(z).log_prob(x).mean(0)  # [L, B] -> [B]
    return Elbo(reconstruction, kl_to_prior(q, model.prior, z))


def posterior_samples(
    model: VAE, x: Tensor, num_samples: int, rng: Noise
) -> tuple[Posterior, Tensor]:
    """q(z|x) and reparameterized samples z ~ q(z|x), [L, B, J]."""
    q = model.encode(x)
    return q, q.from_noise(standard_normal((num_samples, *q.mu.shape), rng, like=q.mu))


def kl_to_prior(q: Posterior, prior: Distribution, z: Tensor) -> Tensor:
    """KL(q(z|x)‖p(z)), [B]: exact where torch or this module knows a closed form, else the mean of
    log q(z|x) − log p(z) over the samples z [L, B, J], which is unbiased."""
    if isinstance(q, DiagonalNormal) and isinstance(prior, DiagonalNormal):
        return gaussian_kl(q.mu, q.log_var, prior.mu, prior.log_var)
    try:
        return kl_divergence(q, prior)
    except NotImplementedError:
        return (q.log_prob(z) - prior.log_prob(z)).mean(0)


def log_weights(model: VAE, x: Tensor, q: Posterior, z: Tensor) -> Tensor:
    """log w = log p(x, z) − log q(z|x), [L, B], for z [L, B, J]: what every estimator here is made
    of. E_q[w] = p(x) and E_q[log w] = ELBO."""
    joint = model.decode(z).log_prob(x) + model.prior.log_prob(z)
    return joint - q.log_prob(z)


def sgvb_a(model: VAE, x: Tensor, num_samples: int = 1, rng: Noise = None) -> Tensor:
    """SGVB estimator A of the ELBO, [B]: (1/L) Σ_l [log p(x, z_l) − log q(z_l|x)].

    Unbiased for the ELBO. It needs no closed form of the KL, and where q(z|x) is the posterior
    every single sample equals log p(x), with no variance. Neither A nor B always has the smaller
    variance.

    Source: Kingma & Welling (2014), equation 6.
    """
    inputs.positive_int("num_samples", num_samples)
    q, z = posterior_samples(model, model.check_data(x), num_samples, rng)
    return log_weights(model, x, q, z).mean(0)


def sgvb_b(model: VAE, x: Tensor, num_samples: int = 1, rng: Noise = None) -> Tensor:
    """SGVB estimator B of the ELBO, [B]: (1/L) Σ_l log p(x|z_l) − KL(q(z|x)‖p(z)).

    Unbiased for the ELBO; only the reconstruction is sampled. It is the value of :func:`elbo`.

    Source: Kingma & Welling (2014), equation 7.
    """
    return elbo(model, x, num_samples, rng).value


def dataset_elbo(estimate: Tensor, dataset_size: int) -> Tensor:
    """The minibatch estimator of a whole data set's ELBO, a scalar: (N/M) Σ_i estimate_i.

    Unbiased for the sum over all N examples if the M examples of the batch are drawn uniformly and
    ``estimate`` [M] is unbiased for each of them. It is the one total of this package; everything
    else is per example.

    Source: Kingma & Welling (2014), equation 8.
    """
    inputs.positive_int("dataset_size", dataset_size)
    if estimate.dim() != 1 or len(estimate) == 0:
        raise ValueError(
            f"estimate must hold one value per example, [M], not {list(estimate.shape)}; "
            f"pass the result of sgvb_a, sgvb_b or elbo(...).value"
        )
    return dataset_size / len(estimate) * estimate.sum()


def iwae_bound(model: VAE, x: Tensor, k: int, rng: Noise = None) -> Tensor:
    """The importance-weighted bound, [B]: log (1/k) Σ_i p(x, z_i)/q(z_i|x), with z_i ~ q(z|x).

    In expectation a lower bound of log p(x) that rises with k, from the ELBO at k = 1, and is
    tight for every k if q(z|x) is the posterior. The mean of the weights itself, (1/k) Σ_i w_i, is
    unbiased for p(x); its logarithm is not unbiased for log p(x).

    Source: Burda et al. (2016), equation 8 and theorem 1.
    """
    inputs.positive_int("k", k)
    return iwae_terms(model, model.check_data(x), k, rng)[0]


def iwae_terms(model: VAE, x: Tensor, k: int, rng: Noise) -> tuple[Tensor, Elbo]:
    """:func:`iwae_bound` for data that has been checked, and from the same samples an unbiased
    estimate of the two terms of the ELBO, in which the KL is sampled too."""
    q, z = posterior_samples(model, x, k, rng)
    log_p = model.decode(z).log_prob(x)  # [k, B]
    log_ratio = q.log_prob(z) - model.prior.log_prob(z)
    bound = torch.logsumexp(log_p - log_ratio, 0) - math.log(k)
    return bound, Elbo(log_p.mean(0), log_ratio.mean(0))


def free_bits(
    model: VAE, x: Tensor, nats: float, num_samples: int = 1, rng: Noise = None
) -> Tensor:
    """The free-bits objective, [B]: reconstruction_i − Σ_j max(nats, mean over the batch of KL_j).

    A dimension pays for its KL only above ``nats``, so that it is not switched off early in
    training. No bound on log p(x): it is at most the ELBO in the mean over the batch, and equals
    that where every dimension uses more than ``nats``. For diagonal Gaussians.

    Source: Kingma et al. (2016), appendix C.8, with every dimension a group of its own.
    """
    inputs.finite_number("nats", nats, at_least=0)
    inputs.positive_int("num_samples", num_samples)
    q, z = posterior_samples(model, model.check_data(x), num_samples, rng)
    prior = model.prior
    if not (isinstance(q, DiagonalNormal) and isinstance(prior, DiagonalNormal)):
        raise TypeError(
            "free_bits needs a diagonal posterior and a Gaussian prior, whose KL divergence "
            "splits into dimensions"
        )
    dimension = gaussian_kl(
        q.mu[..., None], q.log_var[..., None], prior.mu[..., None], prior.log_var[..., None]
    )  # [B, J]
    kl = dimension.mean(0).clamp(min=nats).sum()
    return model.decode(z).log_prob(x).mean(0) - kl
