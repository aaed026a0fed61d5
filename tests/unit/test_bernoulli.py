"""The Bernoulli likelihood at its edges: broadcasting, overflow, second derivatives, rounding."""

import math

import pytest
import torch
from torch.distributions import Bernoulli, Independent

from vae_tutorial import distributions
from vae_tutorial.distributions import BernoulliLogits
from vae_tutorial.model import VAE


def torchs(logits):
    return Independent(Bernoulli(logits=logits, validate_args=False), 1, validate_args=False)


each_way = pytest.mark.parametrize(
    "log_prob",
    [
        lambda logits, x: BernoulliLogits(logits).log_prob(x),
        lambda logits, x: BernoulliLogits(logits).log_prob_without_gradient(x),
    ],
    ids=["with gradient", "without"],
)


def draw(*shape, scale=5.0):
    rng = torch.Generator().manual_seed(0)
    logits = scale * torch.randn(*shape, generator=rng, dtype=torch.double)
    x = (torch.rand(shape[-2:], generator=rng) < 0.4).double()
    return logits, x


@each_way
def test_log_prob_broadcasts_either_way(log_prob):
    logits, x = draw(4, 3, 10)
    for a, b in [(logits, x[0]), (logits[0, 0], x), (logits[:, :1], x), (logits[0], x)]:
        torch.testing.assert_close(log_prob(a, b), torchs(a).log_prob(b))
    many = draw(40, 1, 10)[0]
    torch.testing.assert_close(log_prob(many, x), torchs(many).log_prob(x))


@each_way
def test_grey_values_are_scored_as_torch_scores_them(log_prob):
    logits, x = draw(30, 3, 12)
    grey = x * 0.3 + 0.2
    torch.testing.assert_close(log_prob(logits, grey), torchs(logits).log_prob(grey))


@each_way
def test_a_sum_in_float32_is_right_to_rounding(log_prob):
    logits, x = draw(2000, 1, 784, scale=8.0)
    logits = logits.float()
    exact = torchs(logits.double()).log_prob(x)
    got = log_prob(logits, x.float())
    assert got.dtype == torch.float32
    assert ((got - exact).abs() / exact.abs()).max() < 1e-6
    assert abs((got - exact).mean()) < 1e-6 * exact.abs().mean()  # and has no bias


@pytest.mark.parametrize("dtype", [torch.float32, torch.double])
def test_logits_of_any_size_do_not_overflow(dtype, monkeypatch):
    logits = torch.full((6, 16), -3.0, dtype=dtype)
    logits[1] = 1000.0
    logits[2] = -1000.0
    logits[3, ::2] = 400.0  # each factor is finite in double precision, their product is not
    logits[4] = 20.0
    x = torch.ones(16, dtype=dtype)
    rows, original = [], distributions.softplus
    monkeypatch.setattr(
        distributions, "softplus", lambda a, **more: rows.append(len(a)) or original(a, **more)
    )
    for y in (x, 1 - x):
        expected = torchs(logits.double()).log_prob(y.double())
        got = BernoulliLogits(logits).log_prob_without_gradient(y)
        torch.testing.assert_close(got.double(), expected, rtol=1e-6, atol=1e-5)
    assert rows == ([3, 3] if dtype == torch.float32 else [2, 2])  # only where one did
    logits[0, 0] = math.nan
    nan = BernoulliLogits(logits).log_prob_without_gradient(x).isnan()
    assert torch.equal(nan, torch.arange(6) == 0)


def test_both_derivatives_are_right_and_so_is_that_of_the_data():
    logits, x = draw(2, 3, 5)
    logits.requires_grad_()
    assert torch.autograd.gradcheck(lambda a: BernoulliLogits(a).log_prob(x), logits)
    assert torch.autograd.gradgradcheck(lambda a: BernoulliLogits(a).log_prob(x), logits)
    y = x.clone().requires_grad_()
    BernoulliLogits(logits.detach()).log_prob(y).sum().backward()
    torch.testing.assert_close(y.grad, logits.detach().sum(0))


def test_scoring_leaves_the_logits_as_they_are():
    logits, x = draw(30, 3, 16)
    before = logits.clone()
    BernoulliLogits(logits).log_prob_without_gradient(x)
    assert torch.equal(logits, before)


def test_its_divergence_and_entropy_are_torchs():
    logits, x = draw(2, 3, 8)
    p, q = BernoulliLogits(logits), torchs(logits)
    assert torch.equal(p.mean, q.mean) and torch.equal(p.base_dist.logits, p.logits)
    assert torch.equal(p.entropy(), q.entropy())
    assert torch.distributions.kl_divergence(p, q).abs().max() < 1e-12
    wide = p.expand((4, 2, 3))
    assert isinstance(wide, BernoulliLogits) and wide.batch_shape == (4, 2, 3)
    torch.testing.assert_close(wide.log_prob(x)[3], q.log_prob(x))


def test_the_model_makes_it_of_full_precision_whatever_its_networks_compute_in():
    vae = VAE.mlp(6, 2, hidden=(4,), device="cpu")
    plain = vae.decode(torch.ones(3, 2)).logits
    vae.precision = "bf16"
    half = vae.decode(torch.ones(3, 2))
    assert isinstance(half, BernoulliLogits) and half.logits.dtype == torch.float32
    assert not torch.equal(half.logits, plain)
    torch.testing.assert_close(half.logits, plain, rtol=0.02, atol=0.02)
