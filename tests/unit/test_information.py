"""What the code of a VAE uses and says, against integrals; reconstructions and samples."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from linear_vae import CORRELATED, X, linear_vae
from torch import nn
from torch.distributions import Independent, Laplace, Normal, kl_divergence

from vae_tutorial.distributions import DiagonalNormal
from vae_tutorial.evaluation import (
    ActiveUnits,
    active_units,
    aggregate_kl,
    mutual_information,
    reconstructions,
    sample_means,
)
from vae_tutorial.families import Gaussian
from vae_tutorial.model import VAE

pytestmark = pytest.mark.usefixtures("one_thread")


class Read(nn.Module):
    """A network that is a function."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *inputs):
        return self.function(*inputs)


def table(latent_dim=1, prior=None, dtype=torch.float):
    """A VAE whose encoder reads mu and log_var off x [B, 2 J]."""
    decoder = Read(lambda z: torch.cat([2 * z, 0 * z], -1))
    standard = Gaussian("fixed", 1.0)
    vae = VAE(nn.Identity(), decoder, latent_dim, likelihood=standard, prior=prior, device="cpu")
    return vae.to(dtype)


def test_active_units_are_those_whose_mean_varies():
    rng = torch.Generator().manual_seed(0)
    mu = torch.randn(500, 4, generator=rng) * torch.tensor([1.0, 0.15, 0.05, 0.0])
    log_var = 3 * torch.randn(500, 4, generator=rng)  # must not matter
    got = active_units(table(4), torch.cat([mu + 7, log_var], 1))
    by_hand = ((mu - mu.mean(0)) ** 2).sum(0) / 499
    torch.testing.assert_close(got.activity, by_hand, rtol=1e-4, atol=1e-6)
    assert got.count == 2 and got.active.tolist() == [True, True, False, False]
    assert active_units(table(4), torch.cat([mu, log_var], 1), threshold=0.5).count == 1
    assert active_units(table(), torch.tensor([[0.0, 0.0], [0.17, 0.0]])).count == 1  # 0.0145
    assert active_units(table(), torch.tensor([[0.0, 0.0], [0.13, 0.0]])).count == 0  # 0.0085
    assert ActiveUnits(torch.tensor([0.01, 0.011]), 0.01).count == 1


def test_active_units_refuse_nonsense():
    with pytest.raises(ValueError, match="at least 2 examples, not 1"):
        active_units(table(), torch.zeros(1, 2))
    with pytest.raises(ValueError, match="threshold must be a finite number of at least 0"):
        active_units(table(), torch.zeros(3, 2), threshold=-1)
    assert active_units(table(), torch.zeros(2, 2), threshold=0).count == 0


FEW = torch.tensor([[-1.0, -0.5], [0.4, 0.3], [1.5, -1.5]]).double()  # mu, log_var


def by_quadrature(x):
    """I_q(x; z) and KL(q(z)‖p(z)) in one dimension, by integration."""
    z = torch.linspace(-15, 15, 60_001).double()[:, None]
    log_q = DiagonalNormal(x[:, :1], x[:, 1:]).log_prob(z[:, None])  # [Z, N]
    log_mixture = torch.logsumexp(log_q, 1) - math.log(len(x))
    log_p = DiagonalNormal(torch.zeros(1), torch.zeros(1)).log_prob(z)
    dz = 30 / 60_000
    information = (log_q.exp() * (log_q - log_mixture[:, None])).sum(0) * dz
    return information, (log_mixture.exp() * (log_mixture - log_p)).sum() * dz


def test_information_and_aggregate_kl_equal_their_integrals():
    information, aggregate = by_quadrature(FEW)
    got = mutual_information(table(dtype=torch.double), FEW, rng=0, num_samples=40_000)
    torch.testing.assert_close(got, information, rtol=0, atol=0.01)
    kl = aggregate_kl(table(dtype=torch.double), FEW, rng=1, num_samples=40_000)
    assert kl.mean().item() == pytest.approx(aggregate.item(), abs=0.015)
    exact = kl_divergence(Normal(FEW[:, :1], (FEW[:, 1:] / 2).exp()), Normal(0.0, 1.0))
    assert (information.mean() + aggregate).item() == pytest.approx(exact.mean().item(), abs=1e-6)
    # the nearby wrong ones: nats of the prior, a sum for a mean, a mixture without log N
    for wrong in (exact.mean(), information.sum(), information.mean() - math.log(3)):
        assert abs(got.mean() - wrong) > 0.1
    assert abs(kl.mean() - exact.mean()) > 0.1


@settings(max_examples=30)
@given(st.integers(2, 40), st.floats(0, 30), st.integers(0, 100))
def test_no_information_is_above_log_n(count, spread, seed):
    mu = spread * torch.randn(count, 2, generator=torch.Generator().manual_seed(seed)).double()
    got = mutual_information(table(2, dtype=torch.double), torch.cat([mu, 0 * mu], 1), rng=seed)
    assert (got <= math.log(count) + 1e-12).all()


def test_information_saturates_at_log_n_and_vanishes_where_q_ignores_x():
    apart = torch.stack([100 * torch.arange(50.0), torch.zeros(50)], 1)
    got = mutual_information(table(), apart, rng=0)
    torch.testing.assert_close(got, torch.full((50,), math.log(50)))
    same = torch.zeros(50, 2) + torch.tensor([0.7, -1.0])
    torch.testing.assert_close(
        mutual_information(table(), same, rng=0), torch.zeros(50), atol=1e-5, rtol=0
    )
    prior = torch.zeros(50, 2)
    torch.testing.assert_close(
        aggregate_kl(table(), prior, rng=0), torch.zeros(50), atol=1e-5, rtol=0
    )


def test_information_and_aggregate_kl_of_a_seed_add_up_to_the_kl_of_that_seed():
    both = [
        f(table(dtype=torch.double), FEW, rng=4, num_samples=6)
        for f in (mutual_information, aggregate_kl)
    ]
    q = DiagonalNormal(FEW[:, :1], FEW[:, 1:])
    eps = torch.randn(6, 3, 1, generator=torch.Generator().manual_seed(4), dtype=torch.double)
    z = q.mu + q.sigma * eps
    kl = (q.log_prob(z) - DiagonalNormal(torch.zeros(1), torch.zeros(1)).log_prob(z)).mean(0)
    torch.testing.assert_close(sum(both), kl)


@pytest.mark.parametrize("posterior", ["full", "diagonal"])
def test_information_is_the_same_however_it_is_split(posterior, monkeypatch):
    model, x = linear_vae(CORRELATED, posterior), torch.cat([X, 2 * X, -X])
    whole = mutual_information(model, x, rng=0, num_samples=5)
    pairs = []
    q = type(model.encode(x))
    original = q.log_prob
    monkeypatch.setattr(q, "log_prob", lambda self, z: pairs.append(len(z)) or original(self, z))
    memory = "vae_tutorial.evaluation.information.MEMORY"
    monkeypatch.setattr(memory, 4 * 6 * 2 * 8 * 7)  # seven rows of z
    split = mutual_information(model, x, rng=0, num_samples=5)
    torch.testing.assert_close(split, whole)
    assert pairs[:5] == [7, 7, 7, 7, 2]
    monkeypatch.setattr(memory, 1)
    pairs.clear()
    torch.testing.assert_close(mutual_information(model, x, rng=0, num_samples=5), whole)
    assert pairs[:30] == [1] * 30


def test_information_needs_no_graph_and_refuses_nonsense():
    vae, x = VAE.mlp(6, 2, hidden=(4,), device="cpu", posterior="full"), torch.ones(3, 6)
    for function in (mutual_information, aggregate_kl):
        assert not function(vae, x).requires_grad and function(vae, x).shape == (3,)
        with pytest.raises(ValueError, match="num_samples must be a whole number"):
            function(vae, x, num_samples=0)
        with pytest.raises(ValueError, match="only for binary data"):
            function(vae, x / 2)


# pictures


def test_reconstructions_are_the_means_at_the_means():
    got = reconstructions(table(), torch.tensor([[0.5, 3.0], [-2.0, 1.0]]))
    assert got.tolist() == [[1.0, 0.0], [-4.0, 0.0]]
    vae = VAE.mlp(6, 2, hidden=(4,), device="cpu")
    got = reconstructions(vae, torch.ones(3, 6))
    assert got.shape == (3, 6) and not got.requires_grad
    with pytest.raises(ValueError, match="only for binary data"):
        reconstructions(vae, torch.full((3, 6), 0.5))


class LearnedPrior(nn.Module):
    def forward(self):
        return DiagonalNormal(torch.tensor([5.0]), torch.tensor([math.log(0.25)]))


class LaplacePrior(nn.Module):
    def forward(self):
        return Independent(Laplace(torch.tensor([5.0]), torch.tensor([math.sqrt(0.125)])), 1)


@pytest.mark.parametrize("prior", [LearnedPrior(), LaplacePrior()])
def test_samples_are_decoded_draws_of_the_prior(prior):
    state = torch.random.get_rng_state()
    first, again, other = (sample_means(table(1, prior), 5000, rng=seed) for seed in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert first.shape == (5000, 2)
    assert first[:, 0].mean().item() == pytest.approx(
        10, abs=0.08
    )  # 2 z, z with mean 5, variance ¼
    assert first[:, 0].std().item() == pytest.approx(1, abs=0.08)
    rng = torch.Generator().manual_seed(0)
    one, two = (sample_means(table(1, prior), 3, rng=rng) for _ in range(2))
    assert not torch.equal(one, two)  # a generator moves on


def test_samples_of_an_image_model_are_probabilities():
    got = sample_means(VAE.mlp(6, 2, hidden=(4,), device="cpu"), 4, rng=0)
    assert got.shape == (4, 6) and ((got > 0) & (got < 1)).all() and not got.requires_grad
    assert len(got[:, 0].unique()) == 4
    with pytest.raises(ValueError, match="n must be a whole number of at least 1, not 0"):
        sample_means(table(), 0)
