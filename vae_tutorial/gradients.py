"""Estimators of gradients with respect to phi, the encoder's parameters, as functions to compare.

Each returns one flat tensor [P], in the order of ``model.phi``: an estimate of
the gradient of an objective in nats, averaged over the batch. All objectives are maximized, so
every gradient points uphill. Training needs none of this: autograd on ``objectives.elbo`` gives
:func:`pathwise`.

Three of them estimate ∇ELBO (score function, with and without a baseline; pathwise), two estimate
∇IWAE-k (pathwise and doubly reparameterized), and :func:`wake_sleep` follows a rule that, for phi,
is the gradient of neither.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from vae_tutorial.distributions import draw
from vae_tutorial.families import Posterior
from vae_tutorial.model import VAE
from vae_tutorial.objectives import elbo, iwae_bound, log_weights, sample_posterior
from vae_tutorial.randomness import RandomSource, as_generator
from vae_tutorial.support import inputs

__all__ = [
    "WakeSleep",
    "doubly_reparameterized",
    "flat_gradient",
    "iwae_pathwise",
    "pathwise",
    "score_function",
    "score_function_with_baseline",
    "wake_sleep",
]


def flat_gradient(objective: Tensor, parameters: Iterable[Tensor]) -> Tensor:
    """∂objective/∂parameters as one vector [P], parameter after parameter, each row by row; zero
    where the objective does not depend on a parameter.

    Raises:
        TypeError: parameters are no list of tensors: one parameter is ``[p]``.
        ValueError: the objective is no scalar or has no gradient, or a parameter is frozen.
    """
    parameters = _tensors(parameters)
    if objective.dim() != 0:
        raise ValueError(
            f"objective must be a scalar, not of shape {list(objective.shape)}; "
            f"take the mean over the examples first"
        )
    if not all(p.requires_grad for p in parameters):
        raise ValueError(
            "a parameter is frozen (requires_grad is False), so it has no gradient; "
            "unfreeze it, or leave it out of parameters"
        )
    if not parameters:
        return objective.new_zeros(0)
    if not objective.requires_grad:
        raise ValueError(
            "objective has no gradient: no parameter is in it, or it was computed under "
            "torch.no_grad(); compute it where gradients are recorded"
        )
    gradients = torch.autograd.grad(objective, parameters, materialize_grads=True)
    return torch.cat([g.flatten() for g in gradients])


def _tensors(parameters: Iterable[Tensor]) -> list[Tensor]:
    """The parameters as a list; a single one is no list of its rows, which have no gradient."""
    single = isinstance(parameters, Tensor) or not isinstance(parameters, Iterable)
    found: list[Tensor] = [] if single else list(parameters)
    wrong = [parameters] if single else [p for p in found if not isinstance(p, Tensor)]
    if wrong:
        raise TypeError(
            f"parameters must be a list of tensors, not {'' if single else 'of '}"
            f"{type(wrong[0]).__name__}; one is [p], those of a module [*module.parameters()]"
        )
    return found


def score_function(
    model: VAE, x: Tensor, *, num_samples: int = 1, rng: RandomSource = None
) -> Tensor:
    """The score-function estimator (REINFORCE) of ∇φ ELBO, [P].

    ∇φ E_q[log w] = E_q[log w · ∇φ log q(z|x)], with log w = log p(x, z) − log q(z|x), estimated
    by the mean over L samples. The product rule gives one more term, E_q[∇φ log w] =
    −E_q[∇φ log q(z|x)]; it is zero, since q has mass 1 for every phi, and so it is left out.

    Unbiased for ∇φ ELBO. The method needs no derivative of p(x|z) in z, so it also serves a
    discrete z, and pays for that with variance, which grows with the square of log w: adding a
    constant to log p(x, z) changes the variance, not the mean. Where q(z|x) is the posterior,
    log w is log p(x), and the estimate is log p(x) times a score: noise around zero.

    Args:
        model: the VAE.
        x: examples, [B, D], in the support of the decoder.
        num_samples: L, the samples of z for each example.
        rng: seed or generator of the noise; None draws fresh noise at each call.

    Raises:
        TypeError, ValueError: x is no data for this model, or num_samples is below 1.

    Source: Williams (1992); Kingma & Welling (2014), section 2.2.
    """
    log_w, log_q = _log_weights_and_log_q(model, x, num_samples, rng)
    return flat_gradient((log_w * log_q).mean(), model.phi)


def score_function_with_baseline(
    model: VAE, x: Tensor, *, num_samples: int = 2, rng: RandomSource = None
) -> Tensor:
    """The score-function estimator of ∇φ ELBO with a leave-one-out baseline, [P].

    The mean over l of (log w_l − b_l) ∇φ log q(z_l|x), with b_l the mean of log w over the *other*
    L − 1 samples of the same example.

    Unbiased for ∇φ ELBO: b_l does not depend on z_l, so E[b_l ∇φ log q(z_l|x)] = 0. The mean over
    all L samples would see z_l and shrink the estimate by (L − 1)/L. A constant in log p(x, z)
    cancels, and where q(z|x) is the posterior every estimate is exactly zero, with no variance.

    Args:
        model, x, rng: as for :func:`score_function`.
        num_samples: L, at least 2.

    Raises:
        TypeError, ValueError: x is no data for this model, or num_samples is below 2.

    Source: Mnih & Rezende (2016); Kool et al. (2019).
    """
    if inputs.positive_int("num_samples", num_samples) < 2:
        raise ValueError(
            "num_samples must be at least 2, not 1; the baseline of a sample is the mean of the "
            "other samples"
        )
    log_w, log_q = _log_weights_and_log_q(model, x, num_samples, rng)
    baseline = (log_w.sum(0) - log_w) / (num_samples - 1)  # of the others, [L, B]
    return flat_gradient(((log_w - baseline) * log_q).mean(), model.phi)


def _log_weights_and_log_q(
    model: VAE, x: Tensor, num_samples: int, rng: RandomSource
) -> tuple[Tensor, Tensor]:
    """log w without a gradient, and log q(z|x) with one in q's parameters only, each [L, B]."""
    q, z = sample_posterior(model, x, num_samples, rng)
    return log_weights(model, x, q, z).detach(), _log_q(q, z)


def _log_q(q: Posterior, z: Tensor) -> Tensor:
    """log q(z|x), whose gradient is the score: z is held fixed."""
    return q.log_prob(z.detach())


def pathwise(model: VAE, x: Tensor, *, num_samples: int = 1, rng: RandomSource = None) -> Tensor:
    """The pathwise (reparameterization) estimator of ∇φ ELBO, [P]: ∇φ of :func:`objectives.elbo`.

    ∇φ [(1/L) Σ_l log p(x|z_l) − KL(q(z|x)‖p(z))], with z_l = mu + sigma · eps_l, through which the
    derivative of log p(x|z) in z reaches phi. It is the SGVB estimator B, what training uses; form
    A is :func:`iwae_pathwise` with k = 1.

    Unbiased for ∇φ ELBO. It needs a differentiable p(x|z). Neither form is free of variance where
    q(z|x) is the posterior: B still samples the reconstruction, and A is left with the score
    −∇φ log q(z|x). :func:`doubly_reparameterized` with k = 1 is.

    Args, Raises: as for :func:`score_function`.

    Source: Kingma & Welling (2014), section 2.4 and equation 7.
    """
    objective = elbo(model, x, num_samples=num_samples, rng=rng).value.mean()
    return flat_gradient(objective, model.phi)


def iwae_pathwise(model: VAE, x: Tensor, *, num_samples: int, rng: RandomSource = None) -> Tensor:
    """The pathwise estimator of ∇φ IWAE-k, [P]: ∇φ log (1/k) Σ_i w_i through z_i and through q.

    That is Σ_i w̃_i ∇φ log w_i, with w̃_i = w_i / Σ_j w_j. Unbiased for ∇φ IWAE-k, which is ∇φ ELBO
    at k = 1. As k grows, the gradient shrinks faster than its noise.

    Args:
        model, x, rng: as for :func:`score_function`.
        num_samples: k, the samples of z for each example, at least 1.

    Raises:
        TypeError, ValueError: x is no data for this model, or num_samples is below 1.

    Source: Burda et al. (2016), section 3; Rainforth et al. (2018) on its noise.
    """
    bound = iwae_bound(model, x, num_samples=num_samples, rng=rng)
    return flat_gradient(bound.mean(), model.phi)


def doubly_reparameterized(
    model: VAE, x: Tensor, *, num_samples: int, rng: RandomSource = None
) -> Tensor:
    """The doubly reparameterized estimator (DReG) of ∇φ IWAE-k, [P].

    Σ_i w̃_i² (∂log w_i/∂z_i) (∂z_i/∂φ), with w̃_i = w_i / Σ_j w_j: phi is reached through the
    samples only. The other path, −Σ_i w̃_i ∇φ log q(z_i|x) at fixed z_i, is a score-function term;
    reparameterized once more, it turns w̃_i into w̃_i².

    Unbiased for ∇φ IWAE-k, and for phi only: as a gradient for theta it would be wrong. Where
    q(z|x) is the posterior, log w does not depend on z and every estimate is exactly zero, with
    no variance, for every k. At k = 1 it is the estimator of ∇φ ELBO that sticks the landing.

    Args, Raises: as for :func:`iwae_pathwise`.

    Source: Tucker et al. (2019); Roeder et al. (2017) for k = 1.
    """
    q, z = sample_posterior(model, x, num_samples, rng)
    log_w = log_weights(model, x, q.detached(), z)  # [k, B]
    normalized = torch.softmax(log_w.detach(), 0)
    objective = (normalized**2 * log_w).sum(0).mean()
    return flat_gradient(objective, model.phi)


@dataclass(frozen=True)
class WakeSleep:
    """The two directions of a wake-sleep step, both uphill: ``theta`` for ``model.theta``,
    ``phi`` for ``model.phi``; flat."""

    theta: Tensor
    phi: Tensor


def wake_sleep(model: VAE, x: Tensor, *, rng: RandomSource = None) -> WakeSleep:
    """One step of the wake-sleep algorithm, with one sample or dream for each example.

    Wake, for theta: ∇θ log p(x, z), with z ~ q(z|x). Unbiased for ∇θ ELBO, as in a VAE.
    Sleep, for phi: ∇φ log q(z|x), with a dream z ~ p(z), x ~ p(x|z). Unbiased for
    −∇φ E_p(x)[KL(p(z|x)‖q(z|x))], the KL divergence the other way round from the ELBO's, and under
    the model's own data: x gives no more than the number of dreams. So the two steps climb no
    common objective, but z may be discrete, and where q(z|x) is the posterior for every x the
    expected phi is zero too.

    Args, Raises: as for :func:`score_function`.

    Source: Hinton et al. (1995); the comparison in Kingma & Welling (2014), section 5.
    """
    rng = as_generator(rng)
    _, z = sample_posterior(model, x, 1, rng)
    z = z.detach()
    log_joint = model.log_joint(x, z)  # [1, B]

    with torch.no_grad():
        dream_z = draw(model.prior, (len(x),), rng)  # [B, J]
        dream_x = draw(model.decode(dream_z), (), rng)  # [B, D]
    log_q = _log_q(model.encode(dream_x), dream_z)
    return WakeSleep(
        theta=flat_gradient(log_joint.mean(), model.theta),
        phi=flat_gradient(log_q.mean(), model.phi),
    )
