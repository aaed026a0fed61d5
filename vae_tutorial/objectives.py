"""Objectives: pure functions, in nats, summed over dimensions, one value per example.

The mean over examples is taken once, by the caller. An ELBO has no beta; a weighted objective is
made from it by :meth:`Elbo.weighted`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from vae_tutorial.distributions import DiagonalNormal
from vae_tutorial.families import Posterior
from vae_tutorial.kl import gaussian_kl, kl_to_prior
from vae_tutorial.model import VAE
from vae_tutorial.randomness import RandomSource, as_generator, standard_normal
from vae_tutorial.support import inputs
from vae_tutorial.support.batch import batch_mean

Eps = Tensor | None

__all__ = [
    "Elbo",
    "dataset_elbo",
    "elbo",
    "evaluate_elbo",
    "free_bits",
    "gaussian_kl",
    "iwae_bound",
    "log_mean_exp",
    "log_weights",
    "sample_posterior",
    "sgvb_a",
    "sgvb_b",
]


@dataclass(frozen=True)
class Elbo:
    """The two terms of the ELBO, log p(x) ≥ reconstruction − kl, in nats, one value per example.

    ``reconstruction`` is an estimate of E_q[log p(x|z)]; ``kl`` is KL(q(z|x)‖p(z)), exact where
    :func:`kl_to_prior` knows a closed form, and else an estimate too.
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


def elbo(
    model: VAE, x: Tensor, *, num_samples: int = 1, rng: RandomSource = None, eps: Eps = None
) -> Elbo:
    """The evidence lower bound of each example, by the reparameterization trick.

    ELBO(x) = E_q[log p(x|z)] − KL(q(z|x)‖p(z)) ≈ (1/L) Σ_l log p(x|z_l) − KL(q(z|x)‖p(z)),
    with z_l = mu + sigma · eps_l and eps_l ~ N(0, I).

    An unbiased estimate of the ELBO, which is a lower bound of log p(x) and equals it exactly when
    q(z|x) is the posterior p(z|x). Differentiable in the parameters of both networks.

    Args:
        model: the VAE, in the mode in which it is (:func:`evaluate_elbo` is for scores).
        x: examples, [B, D], in the support of the likelihood.
        num_samples: L, the samples of z for each example.
        rng: seed or generator of the noise; None draws fresh noise at each call.
        eps: the noise itself, [L, B, J], in place of num_samples and rng.

    Returns:
        ``Elbo`` with both terms of shape [B], in nats.

    Raises:
        TypeError, ValueError: x is no data for this model, or num_samples is below 1.

    Source: Kingma & Welling (2014), equations 7 and 10 (the SGVB estimator B).
    """
    q, z = sample_posterior(model, x, num_samples, rng, eps)
    return Elbo(model.log_likelihood(x, z).mean(0), kl_to_prior(q, model.prior, z))


def sgvb_a(
    model: VAE, x: Tensor, *, num_samples: int = 1, rng: RandomSource = None, eps: Eps = None
) -> Tensor:
    """SGVB estimator A of the ELBO, [B]: (1/L) Σ_l [log p(x, z_l) − log q(z_l|x)].

    Unbiased for the ELBO. It needs no closed form of the KL, and where q(z|x) is the posterior
    every single sample equals log p(x), with no variance. Neither A nor B always has the smaller
    variance. Arguments and errors are those of :func:`elbo`.

    Source: Kingma & Welling (2014), equation 6.
    """
    q, z = sample_posterior(model, x, num_samples, rng, eps)
    return log_weights(model, x, q, z).mean(0)


def sgvb_b(
    model: VAE, x: Tensor, *, num_samples: int = 1, rng: RandomSource = None, eps: Eps = None
) -> Tensor:
    """SGVB estimator B of the ELBO, [B]: (1/L) Σ_l log p(x|z_l) − KL(q(z|x)‖p(z)).

    Unbiased for the ELBO; where the KL has a closed form, only the reconstruction is sampled. It
    is the value of :func:`elbo`, and has its arguments and errors.

    Source: Kingma & Welling (2014), equation 7.
    """
    return elbo(model, x, num_samples=num_samples, rng=rng, eps=eps).value


def iwae_bound(
    model: VAE, x: Tensor, *, num_samples: int = 1, rng: RandomSource = None, eps: Eps = None
) -> Tensor:
    """The importance-weighted bound, [B]: log (1/k) Σ_i p(x, z_i)/q(z_i|x), with z_i ~ q(z|x) and
    k = num_samples.

    In expectation a lower bound of log p(x) that rises with k, from the ELBO at k = 1, and is
    tight for every k if q(z|x) is the posterior. The mean of the weights itself, (1/k) Σ_i w_i, is
    unbiased for p(x); its logarithm is not unbiased for log p(x). Arguments and errors are those
    of :func:`elbo`.

    Source: Burda et al. (2016), equation 8 and theorem 1.
    """
    q, z = sample_posterior(model, x, num_samples, rng, eps)
    return log_mean_exp(log_weights(model, x, q, z))


def free_bits(
    model: VAE,
    x: Tensor,
    *,
    nats: float,
    num_samples: int = 1,
    rng: RandomSource = None,
    eps: Tensor | None = None,
) -> Tensor:
    """The free-bits objective, [B]: reconstruction_i − Σ_j max(nats, mean over the batch of KL_j),
    in the mean over the batch.

    A dimension pays for its KL only above ``nats``, so that it is not switched off early in
    training: KL_ij counts where the batch's mean of it exceeds ``nats``, and ``nats`` elsewhere.
    The mean over the batch is at most the mean ELBO, and equals it where every dimension uses more
    than ``nats``; of a single example it is no bound. The maximum of a noisy mean is too large on
    average, so that a small batch is charged more than a large one. In training by several
    processes the mean is that of the whole batch. For diagonal Gaussians. Other arguments are
    those of :func:`elbo`.

    Source: Kingma et al. (2016), appendix C.8, with every dimension a group of its own.
    """
    inputs.finite_number("nats", nats, at_least=0)
    q, z = sample_posterior(model, x, num_samples, rng, eps)
    prior = model.prior
    if not (isinstance(q, DiagonalNormal) and isinstance(prior, DiagonalNormal)):
        raise TypeError(
            "free_bits needs a diagonal posterior and a Gaussian prior, whose KL divergence "
            "splits into dimensions"
        )
    kl = gaussian_kl(
        q.mu[..., None], q.log_var[..., None], prior.mu[..., None], prior.log_var[..., None]
    )  # [B, J]
    charged = torch.where(batch_mean(kl) > nats, kl, nats)
    return model.log_likelihood(x, z).mean(0) - charged.sum(-1)


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


def evaluate_elbo(
    model: VAE, x: Tensor, *, num_samples: int = 1, rng: RandomSource = None, rows: int = 5000
) -> Elbo:
    """:func:`elbo` as a score of any number of examples: in eval mode whatever the model's mode
    is, without gradients, ``rows`` examples at a time, on the model's device."""
    rng = as_generator(rng)
    with model.evaluating():
        parts = [
            elbo(model, part.to(model.device), num_samples=num_samples, rng=rng)
            for part in x.split(rows)
        ]
    return Elbo(
        torch.cat([part.reconstruction for part in parts]), torch.cat([part.kl for part in parts])
    )


def sample_posterior(
    model: VAE, x: Tensor, num_samples: int, rng: RandomSource = None, eps: Tensor | None = None
) -> tuple[Posterior, Tensor]:
    """q(z|x) and reparameterized samples z ~ q(z|x), [L, B, J], for data that the model can
    explain; from the noise eps if it is given, else from noise drawn by rng."""
    x = model.check_data(x)
    if eps is None:
        shape = inputs.positive_int("num_samples", num_samples), len(x), model.noise_dim
        eps = standard_normal(shape, rng, like=x)
    elif eps.dim() != 3 or eps.shape[1:] != (len(x), model.noise_dim):
        raise ValueError(
            f"eps must have shape [L, {len(x)}, {model.noise_dim}] (samples, examples, latent "
            f"dimensions), not {list(eps.shape)}"
        )
    q = model.encode(x)
    z = q.from_noise(eps)
    if z.shape != (len(eps), len(x), model.latent_dim):
        raise ValueError(
            f"the posterior must make z of shape {[len(eps), len(x), model.latent_dim]} of noise "
            f"{list(eps.shape)}, not {list(z.shape)}"
        )
    return q, z


def log_weights(model: VAE, x: Tensor, q: Posterior, z: Tensor) -> Tensor:
    """log w = log p(x, z) − log q(z|x), [L, B], for z [L, B, J]: what every estimator here is made
    of. E_q[w] = p(x) and E_q[log w] = ELBO."""
    return model.log_joint(x, z) - q.log_prob(z)


def log_mean_exp(log_w: Tensor) -> Tensor:
    """log (1/k) Σ_i w_i over the first of the dimensions of log w."""
    return torch.logsumexp(log_w, 0) - math.log(len(log_w))
