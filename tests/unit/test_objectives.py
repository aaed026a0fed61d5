"""Objectives against torch.distributions, an exactly solvable model, and Monte Carlo."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from linear_vae import CORRELATED, DIAGONAL, X, exact_elbo, linear_vae, many
from torch import nn
from torch.distributions import Independent, Normal, kl_divergence

from vae_tutorial.distributions import DiagonalNormal
from vae_tutorial.kl import gaussian_kl
from vae_tutorial.model import VAE
from vae_tutorial.objectives import Elbo, elbo

numbers = st.floats(-4, 4, allow_nan=False, width=32)


def rows(n):
    return st.lists(numbers, min_size=n, max_size=n).map(lambda r: torch.tensor(r).double())


@given(st.integers(1, 6).flatmap(lambda n: st.tuples(*[rows(n)] * 4)))
def test_kl_equals_torch_distributions(parameters):
    mu, log_var, prior_mu, prior_log_var = parameters
    q = Independent(Normal(mu, (log_var / 2).exp()), 1)
    p = Independent(Normal(prior_mu, (prior_log_var / 2).exp()), 1)
    ours = gaussian_kl(mu, log_var, prior_mu, prior_log_var)
    torch.testing.assert_close(ours, kl_divergence(q, p), rtol=1e-10, atol=1e-12)


@given(rows(3), rows(3))
def test_kl_to_the_standard_normal_is_the_papers_formula(mu, log_var):
    paper = -0.5 * (1 + log_var - mu**2 - log_var.exp()).sum()
    torch.testing.assert_close(gaussian_kl(mu, log_var), paper, rtol=1e-10, atol=1e-12)


def test_kl_within_standard_error_of_monte_carlo():
    rng = torch.Generator().manual_seed(0)
    mu, log_var = torch.tensor([0.7, -1.2]).double(), torch.tensor([-0.5, 0.8]).double()
    eps = torch.randn(200_000, 2, generator=rng, dtype=torch.double)
    z = mu + (log_var / 2).exp() * eps
    q, p = DiagonalNormal(mu, log_var), DiagonalNormal(torch.zeros(2), torch.zeros(2))
    ratio = q.log_prob(z) - p.log_prob(z)
    error = ratio.std() / math.sqrt(len(ratio))
    assert abs(ratio.mean() - gaussian_kl(mu, log_var)) < 5 * error


@given(rows(4), rows(4))
def test_kl_is_never_negative(mu, log_var):
    assert gaussian_kl(mu.float(), log_var.float()) >= 0


def test_kl_is_zero_at_the_prior_and_precise_near_it():
    zero = torch.zeros(5)
    assert gaussian_kl(zero, zero).item() == 0
    assert gaussian_kl(zero + 2, zero + 0.3, 2.0, 0.3).item() == 0
    near = torch.full((1,), 1e-4)  # ½(e^d − 1 − d) ≈ d²/4, lost without expm1 in float32
    assert gaussian_kl(torch.zeros(1), near).item() == pytest.approx(2.5e-9, rel=0.05)


def test_kl_keeps_double_precision_with_numbers_for_the_prior():
    zero = torch.zeros(1).double()
    exact = 0.5 * (math.exp(-0.3) - 1 + 0.3 + 0.01 * math.exp(-0.3))
    assert gaussian_kl(zero, zero, 0.1, 0.3).item() == pytest.approx(exact, rel=1e-12)


def test_kl_sums_over_dimensions_and_keeps_examples():
    mu, log_var = torch.ones(7, 3), torch.zeros(7, 3)
    torch.testing.assert_close(gaussian_kl(mu, log_var), torch.full((7,), 1.5))


def test_kl_gradients_are_those_of_the_derivation():
    mu = torch.tensor([0.3, -2.0], dtype=torch.double, requires_grad=True)
    log_var = torch.tensor([-1.0, 0.5], dtype=torch.double, requires_grad=True)
    gaussian_kl(mu, log_var).backward()
    torch.testing.assert_close(mu.grad, mu.detach())
    torch.testing.assert_close(log_var.grad, 0.5 * (log_var.detach().exp() - 1))


def test_kl_refuses_heads_of_different_shapes():
    with pytest.raises(ValueError, match=r"same shape, not \[2, 3\] and \[3\]"):
        gaussian_kl(torch.zeros(2, 3), torch.zeros(3))


def test_elbo_equals_log_evidence_where_q_is_the_posterior():
    for vae in (linear_vae(DIAGONAL), linear_vae(DIAGONAL, "full")):
        mean, error, _ = many(lambda *a, **k: elbo(*a, **k).value, vae, 40_000)
        assert ((mean - DIAGONAL.log_evidence(X)).abs() < 5 * error).all()


@pytest.mark.parametrize("posterior", ["diagonal", "full"])
def test_elbo_is_the_exact_one_for_any_q(posterior):
    vae = linear_vae(CORRELATED, posterior, shift=0.4, scale=1.3)
    mean, error, _ = many(lambda *a, **k: elbo(*a, **k).value, vae, 40_000)
    exact = exact_elbo(CORRELATED, vae.encode(X), X)
    assert ((mean - exact).abs() < 5 * error).all()
    assert (CORRELATED.log_evidence(X) - exact > 20 * error).all()  # the gap is seen


def test_elbo_reconstruction_is_the_mean_over_samples():
    vae, x = VAE.mlp(6, 2, hidden=(4,)), torch.ones(3, 6)
    rng = torch.Generator().manual_seed(5)
    with torch.no_grad():
        got = elbo(vae.cpu(), x, num_samples=8, rng=torch.Generator().manual_seed(5))
        q = vae.encode(x)
        z = q.mu + (q.log_var / 2).exp() * torch.randn(8, 3, 2, generator=rng)
        by_hand = -nn.functional.binary_cross_entropy_with_logits(
            vae.decoder(z), x.expand(8, 3, 6), reduction="none"
        )
    torch.testing.assert_close(got.reconstruction, by_hand.sum(-1).mean(0))
    assert got.kl.shape == got.value.shape == (3,)


def test_elbo_reads_its_samples_from_the_generator_alone():
    vae, x = VAE.mlp(6, 2, hidden=(4,)), torch.ones(3, 6)
    x = x.to(vae.device)
    state = torch.random.get_rng_state()
    first, again, other = (elbo(vae, x, rng=seed).value for seed in (0, 0, 1))
    elbo(vae, x)
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_elbo_differentiates_through_both_networks():
    vae = VAE.mlp(6, 2, hidden=(4,))
    elbo(vae, torch.ones(3, 6, device=vae.device), rng=0).value.sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in vae.parameters())


@settings(max_examples=25)
@given(st.floats(0, 4))
def test_weighted_and_mean(beta):
    terms = Elbo(torch.tensor([-3.0, -5.0]), torch.tensor([1.0, 2.0]))
    torch.testing.assert_close(terms.weighted(beta), torch.tensor([-3 - beta, -5 - 2 * beta]))
    assert terms.mean().value.item() == pytest.approx(-5.5)


@pytest.mark.parametrize(
    ("x", "error", "words"),
    [
        (torch.ones(3, 5), ValueError, r"shape \[B, 6\].*not \[3, 5\]"),
        (torch.ones(6), ValueError, r"x\[None\]"),
        (torch.full((2, 6), 0.5), ValueError, "Bernoulli likelihood is only for binary data"),
        (torch.tensor([[math.nan] * 6]), ValueError, "NaN or infinite values in 1 of 1"),
        (torch.ones(2, 6, dtype=torch.long), TypeError, "floating point"),
        ([[1.0] * 6], TypeError, "torch.Tensor, not list"),
    ],
)
def test_elbo_refuses_bad_data_in_one_sentence(x, error, words):
    with pytest.raises(error, match=words):
        elbo(VAE.mlp(6, 2, hidden=(4,)), x)


@pytest.mark.parametrize("samples", [0, -1, 2.0, True])
def test_elbo_refuses_a_nonsensical_number_of_samples(samples):
    with pytest.raises(ValueError, match="num_samples must be a whole number of at least 1"):
        elbo(VAE.mlp(6, 2), torch.ones(1, 6), num_samples=samples)
