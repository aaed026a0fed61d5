"""SGVB A and B, the importance-weighted bound, the minibatch estimator and free bits, each
against its own exact target."""

import math

import pytest
import torch
from linear_vae import CORRELATED, DIAGONAL, X, exact_elbo, linear_vae, many
from torch import nn
from torch.distributions import (
    Categorical,
    Independent,
    MixtureSameFamily,
    MultivariateNormal,
    Normal,
    kl_divergence,
)

from vae_tutorial.distributions import DiagonalNormal, FullNormal
from vae_tutorial.families import Gaussian
from vae_tutorial.kl import gaussian_kl, kl_to_prior
from vae_tutorial.model import VAE
from vae_tutorial.objectives import (
    dataset_elbo,
    elbo,
    free_bits,
    iwae_bound,
    sgvb_a,
    sgvb_b,
)

OFF = {"shift": 0.3, "scale": 1.2}  # an encoder that is not the posterior


@pytest.mark.parametrize("estimator", [sgvb_a, sgvb_b])
@pytest.mark.parametrize("num_samples", [1, 5])
def test_a_and_b_are_unbiased_for_the_elbo(estimator, num_samples):
    vae = linear_vae(CORRELATED, **OFF)
    mean, error, _ = many(estimator, vae, 20_000, num_samples=num_samples)
    target = exact_elbo(CORRELATED, vae.encode(X), X)
    assert ((mean - target).abs() < 5 * error).all()
    q = vae.encode(X)
    without_prior = target + q.variance.sum(-1) / 2 + (q.mu**2).sum(-1) / 2 + math.log(2 * math.pi)
    assert ((mean - without_prior).abs() > 20 * error).all()
    twice_the_kl = target - gaussian_kl(q.mu, q.log_var)
    assert ((mean - twice_the_kl).abs() > 20 * error).all()


def test_estimator_a_has_no_variance_at_the_posterior_and_b_has():
    vae = linear_vae(DIAGONAL)
    _, _, a = many(sgvb_a, vae, 500)
    _, _, b = many(sgvb_b, vae, 500)
    expected = DIAGONAL.log_evidence(X)[:, None].expand_as(a)
    torch.testing.assert_close(a, expected, rtol=1e-4, atol=1e-4)
    assert (b.std(1) > 0.1).all()


def test_neither_a_nor_b_always_has_the_smaller_variance():
    """At the posterior A wins; where the decoder ignores z, B is exact and wins."""

    class Encoder(nn.Module):
        def forward(self, x):
            return torch.cat([x[:, :2], torch.ones_like(x[:, :2])], 1)

    class Deaf(nn.Module):
        def forward(self, z):
            return z.new_zeros(len(z), 3)

    standard = Gaussian("fixed", 1.0)
    deaf = VAE(Encoder(), Deaf(), 2, likelihood=standard, device="cpu").double()
    _, _, a = many(sgvb_a, deaf, 500)
    _, _, b = many(sgvb_b, deaf, 500)
    assert (a.std(1) > 0.5).all() and (b.std(1) < 1e-5).all()


def test_sgvb_b_is_the_elbo():
    vae = linear_vae(CORRELATED, **OFF)
    assert torch.equal(
        sgvb_b(vae, X, num_samples=3, rng=4), elbo(vae, X, num_samples=3, rng=4).value
    )


def test_bounds_are_ordered_in_expectation():
    vae = linear_vae(CORRELATED, **OFF)
    log_p = CORRELATED.log_evidence(X)
    means, errors = [exact_elbo(CORRELATED, vae.encode(X), X)], [torch.zeros(2)]
    for k in (2, 3, 10, 100):
        n = 20_000 if k <= 10 else 4_000
        mean, error, _ = many(iwae_bound, vae, n, num_samples=k)
        means.append(mean)
        errors.append(error)
    for low, high, a, b in zip(means, means[1:], errors, errors[1:], strict=False):
        assert (high - low > 5 * torch.sqrt(a**2 + b**2)).all()
    assert (log_p - means[-1] > -5 * errors[-1]).all()
    assert (log_p - means[1] > 20 * errors[1]).all()


def test_iwae_with_one_sample_is_estimator_a():
    vae = linear_vae(CORRELATED, **OFF)
    torch.testing.assert_close(
        iwae_bound(vae, X, num_samples=1, rng=3), sgvb_a(vae, X, num_samples=1, rng=3)
    )


@pytest.mark.parametrize("k", [1, 2, 7])
def test_iwae_is_tight_for_every_k_at_the_posterior(k):
    value = iwae_bound(linear_vae(DIAGONAL), X, num_samples=k, rng=0)
    torch.testing.assert_close(value, DIAGONAL.log_evidence(X), rtol=1e-4, atol=1e-4)


def test_the_mean_weight_is_unbiased_and_its_logarithm_is_not():
    """Two-sample weights: E[w] = p(x), while E[log w] lies below log p(x)."""
    vae = linear_vae(CORRELATED, **OFF)
    _, _, log_w = many(iwae_bound, vae, 40_000, num_samples=2)
    p, w = CORRELATED.log_evidence(X).exp(), log_w.exp()
    error = w.std(1) / math.sqrt(w.shape[1])
    assert ((w.mean(1) - p).abs() < 5 * error).all()
    log_error = log_w.std(1) / math.sqrt(w.shape[1])
    assert (p.log() - log_w.mean(1) > 20 * log_error).all()


def test_with_beta_below_one_the_objective_is_no_bound():
    vae = linear_vae(DIAGONAL)
    terms = elbo(vae, X.repeat_interleave(10_000, 0), rng=0)
    weighted = terms.weighted(0.5).reshape(2, -1).mean(1)
    assert (weighted > DIAGONAL.log_evidence(X) + 0.1).all()
    assert (terms.weighted(2.0) < terms.value).all()


def test_the_minibatch_estimator_is_unbiased_for_the_total():
    values = torch.tensor([-3.0, -7.0, 1.0, -10.0, 4.0])
    pairs = torch.combinations(torch.arange(5), 2)
    estimates = torch.stack([dataset_elbo(values[pair], 5) for pair in pairs])
    torch.testing.assert_close(estimates.mean(), values.sum())
    assert dataset_elbo(values[:1], 5).item() == -15.0
    with pytest.raises(ValueError, match=r"one value per example, \[M\], not \[2, 2\]"):
        dataset_elbo(torch.zeros(2, 2), 5)
    with pytest.raises(ValueError, match="dataset_size"):
        dataset_elbo(values, 0)


def test_free_bits_charge_each_dimension_at_least_its_allowance():
    vae = linear_vae(CORRELATED, **OFF)
    q = vae.encode(X)
    dimension = 0.5 * (q.variance + q.mu**2 - 1 - q.log_var)  # [B, J]
    terms = elbo(vae, X, num_samples=2, rng=0)
    means = dimension.mean(0)
    for nats in (0.0, means.min().item() + 0.05, means.max().item() + 1):
        charged = torch.stack([m.clamp(min=nats) for m in means]).sum()
        got = free_bits(vae, X, nats=nats, num_samples=2, rng=0)
        torch.testing.assert_close(got.mean(), (terms.reconstruction - charged).mean())
        assert got.mean() <= terms.value.mean() + 1e-5
    free = free_bits(vae, X, nats=0.0, num_samples=2, rng=0)
    torch.testing.assert_close(free.mean(), terms.value.mean())


def test_free_bits_need_a_kl_that_splits_into_dimensions():
    with pytest.raises(TypeError, match="diagonal posterior and a Gaussian prior"):
        free_bits(linear_vae(CORRELATED, "full"), X, nats=0.5)
    with pytest.raises(ValueError, match="nats must be a finite number of at least 0"):
        free_bits(linear_vae(CORRELATED), X, nats=-0.5)


class MixturePrior(nn.Module):
    """Two peaks: no closed form of the KL."""

    def forward(self):
        means = torch.tensor([[-1.0, 0.0], [1.5, 0.5]])
        peaks = Independent(Normal(means, 0.8), 1)
        return MixtureSameFamily(Categorical(torch.tensor([0.3, 0.7])), peaks)


def test_kl_to_the_prior_is_exact_where_it_can_be():
    mu, log_var = torch.tensor([[0.3, -1.0]]), torch.tensor([[0.2, -0.5]])
    prior = DiagonalNormal(torch.tensor([1.0, 0.0]), torch.tensor([0.5, -1.0]))
    none = torch.empty(0, 1, 2)
    q = DiagonalNormal(mu, log_var)
    torch.testing.assert_close(kl_to_prior(q, prior, none), kl_divergence(q, prior))
    L = torch.tensor([[[0.9, 0.0], [0.4, 0.6]]])
    full = FullNormal(mu, L)
    torchs = kl_divergence(
        MultivariateNormal(mu, L @ L.mT), MultivariateNormal(prior.mu, torch.diag(prior.variance))
    )
    torch.testing.assert_close(kl_to_prior(full, prior, none), torchs)


@pytest.mark.slow
def test_kl_to_a_mixture_prior_is_estimated_without_bias():
    q = DiagonalNormal(torch.tensor([[0.3, -0.2]]), torch.tensor([[-0.2, -0.5]]))
    prior = MixturePrior()()
    u = torch.linspace(-8, 8, 801)
    z = torch.cartesian_prod(u, u)[:, None]
    log_q = q.log_prob(z)
    exact = (log_q.exp() * (log_q - prior.log_prob(z))).sum() * (u[1] - u[0]) ** 2
    eps = torch.randn(40_000, 1, 2, generator=torch.Generator().manual_seed(0))
    draws = q.from_noise(eps)
    per_sample = torch.stack([kl_to_prior(q, prior, part) for part in draws.split(1)]).flatten()
    error = per_sample.std() / math.sqrt(len(per_sample))
    assert abs(per_sample.mean() - exact) < 5 * error
    assert abs(per_sample.mean() + exact) > 20 * error


def test_a_model_with_a_mixture_prior_has_an_elbo():
    vae = linear_vae(CORRELATED, prior=MixturePrior())
    mean, error, _ = many(sgvb_b, vae, 20_000)
    other, other_error, _ = many(sgvb_a, vae, 20_000)
    assert ((mean - other).abs() < 5 * torch.sqrt(error**2 + other_error**2)).all()


@pytest.mark.parametrize("estimator", [sgvb_a, sgvb_b])
def test_a_and_b_refuse_nonsense(estimator):
    vae = VAE.mlp(6, 2)
    with pytest.raises(ValueError, match="num_samples must be"):
        estimator(vae, torch.ones(1, 6), num_samples=0)
    with pytest.raises(ValueError, match="NaN"):
        estimator(vae, torch.full((1, 6), math.nan))


def test_iwae_refuses_nonsense():
    vae = VAE.mlp(6, 2)
    with pytest.raises(ValueError, match="num_samples must be a whole number .*, not 0"):
        iwae_bound(vae, torch.ones(1, 6), num_samples=0)
    with pytest.raises(ValueError, match="Bernoulli"):
        iwae_bound(vae, torch.full((1, 6), 0.5))


def test_free_bits_measure_the_kl_to_the_models_own_prior():
    class Prior(nn.Module):
        def forward(self):
            return DiagonalNormal(torch.tensor([0.5, -0.2]), torch.tensor([0.7, -0.4]))

    vae = linear_vae(CORRELATED, **OFF, prior=Prior())
    terms = elbo(vae, X, num_samples=1, rng=0)
    free = free_bits(vae, X, nats=0.0, rng=0)
    torch.testing.assert_close(free.mean(), terms.value.mean())
    with pytest.raises(ValueError, match=r"^num_samples must be"):
        free_bits(vae, X, nats=0.0, num_samples=0)


def test_one_sample_is_the_default_everywhere():
    vae = linear_vae(CORRELATED, **OFF)
    assert torch.equal(elbo(vae, X, rng=0).value, elbo(vae, X, num_samples=1, rng=0).value)
    assert torch.equal(sgvb_a(vae, X, rng=0), sgvb_a(vae, X, num_samples=1, rng=0))
    assert torch.equal(sgvb_b(vae, X, rng=0), sgvb_b(vae, X, num_samples=1, rng=0))
    one = free_bits(vae, X, nats=0.5, num_samples=1, rng=0)
    assert torch.equal(free_bits(vae, X, nats=0.5, rng=0), one)
