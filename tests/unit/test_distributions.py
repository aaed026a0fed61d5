"""The Bernoulli likelihood without a gradient takes a shortcut: it must lead to the same place."""

import pytest
import torch
from torch.distributions import Bernoulli
from torch.nn.functional import softplus

from vae_tutorial.distributions import BernoulliLogits


@pytest.mark.parametrize("D", [1, 2, 3, 7, 8, 9, 64, 784])
@pytest.mark.parametrize("scale", [0.1, 3.0, 30.0, 300.0])  # the last overflows exp
def test_the_log_probability_is_torchs_with_and_without_gradient(D, scale):
    rng = torch.Generator().manual_seed(D)
    logits = scale * torch.randn(50, 3, D, generator=rng)
    x = (torch.rand(3, D, generator=rng) < 0.3).float()
    exact = Bernoulli(logits=logits.double()).log_prob(x.double()).sum(-1)
    short = BernoulliLogits(logits).log_prob_without_gradient(x)
    long = BernoulliLogits(logits.requires_grad_()).log_prob(x)
    assert long.requires_grad and not short.requires_grad
    torch.testing.assert_close(long.double(), exact, rtol=2e-6, atol=1e-6)
    rounding = 3e-7 * logits.detach().abs().sum(-1) + 1e-6 * D  # what the docstring promises
    assert bool(((short - exact).abs() <= rounding).all())


def test_its_gradient_is_x_minus_the_probability():
    rng = torch.Generator().manual_seed(0)
    logits = torch.randn(4, 6, generator=rng, dtype=torch.double, requires_grad=True)
    x = (torch.rand(4, 6, generator=rng) < 0.5).double()
    BernoulliLogits(logits).log_prob(x).sum().backward()
    torch.testing.assert_close(logits.grad, x - torch.sigmoid(logits.detach()))


def test_what_is_not_finite_stays_so_and_the_wrong_sign_is_far_away():
    with torch.no_grad():
        bad = BernoulliLogits(torch.tensor([[float("nan"), 0.0], [0.0, 1.0]]))
        assert bad.log_prob_without_gradient(torch.zeros(2)).isnan().tolist() == [True, False]
        logits = torch.randn(5, 9, generator=torch.Generator().manual_seed(0))
        right = BernoulliLogits(logits).log_prob_without_gradient(torch.zeros(9))
        torch.testing.assert_close(right, -softplus(logits).sum(-1))
        assert (right - -softplus(-logits).sum(-1)).abs().max() > 0.5


def test_it_is_one_distribution_over_the_last_dimension():
    p = BernoulliLogits(torch.zeros(2, 5))
    assert p.batch_shape == (2,) and p.event_shape == (5,) and p.mean.eq(0.5).all()
    assert p.expand((3, 2)).log_prob(torch.ones(5)).shape == (3, 2)
    assert p.sample((4,)).shape == (4, 2, 5)
