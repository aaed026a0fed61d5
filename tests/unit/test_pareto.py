"""The Pareto-k diagnostic against known distributions and other people's formulas."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import genpareto

from vae_tutorial.evaluation import pareto


def pareto_samples(k, sigma, count, sets):
    rng = torch.Generator().manual_seed(2)
    u = torch.rand(count, sets, generator=rng, dtype=torch.double)
    return sigma * torch.expm1(-k * torch.log1p(-u)) / k  # the inverse distribution function


@pytest.mark.parametrize("k", [-0.4, 0.1, 0.5, 0.9])
@pytest.mark.parametrize("sigma", [0.02, 3.0])
def test_the_fit_finds_the_parameters_of_a_known_distribution(k, sigma):
    shape, scale = pareto.fit_generalized_pareto(pareto_samples(k, sigma, 2000, 100))
    assert shape.std() < 1.5 * (1 + abs(k)) / math.sqrt(2000)  # as maximum likelihood
    assert abs(shape.mean() - k) < 5 * shape.std() / 10 + 0.003
    assert abs(scale.mean() / sigma - 1) < 5 * scale.std() / sigma / 10 + 0.003


@pytest.mark.parametrize("k", [0.1, 0.7])
def test_the_fit_agrees_with_maximum_likelihood(k):
    y = pareto_samples(k, 2.0, 3000, 1)
    shape, scale = pareto.fit_generalized_pareto(y)
    best_shape, _, best_scale = genpareto.fit(y[:, 0].numpy(), floc=0)
    assert shape.item() == pytest.approx(best_shape, abs=0.01)
    assert scale.item() == pytest.approx(best_scale, rel=0.01)


def zhang_stephens(y):
    """The published procedure for one sample, step by step, with k = −k of their paper."""
    x = np.sort(y)
    n = len(x)
    m = 30 + int(np.sqrt(n))
    theta = []
    for j in range(1, m + 1):
        theta.append(1 / x[n - 1] + (1 - np.sqrt(m / (j - 0.5))) / (3 * x[int(n / 4 + 0.5) - 1]))
    profile = []
    for b in theta:
        k = -np.mean(np.log(1 - b * x))
        profile.append(n * (np.log(b / k) + k - 1))
    weights = [1 / sum(np.exp(np.array(profile) - one)) for one in profile]
    best = sum(w * b for w, b in zip(weights, theta, strict=True))
    k = -np.mean(np.log(1 - best * x))
    return -k, k / best


@pytest.mark.parametrize("count", [5, 6, 20, 213])
def test_the_fit_is_the_published_procedure(count):
    y = pareto_samples(0.6, 1.7, count, 3)
    shape, scale = pareto.fit_generalized_pareto(y)
    for i in range(3):
        expected = zhang_stephens(y[:, i].numpy())
        assert (shape[i].item(), scale[i].item()) == pytest.approx(expected, rel=1e-8)


def test_the_tail_grows_as_it_should():
    sizes = {K: pareto.tail_size(K) for K in (20, 21, 25, 100, 225, 226, 1000, 5000)}
    assert sizes == {20: 4, 21: 5, 25: 5, 100: 20, 225: 45, 226: 46, 1000: 95, 5000: 213}


@pytest.mark.parametrize("offset", [0.0, 900.0, -900.0])
def test_pareto_k_is_the_fit_of_the_tail_pulled_towards_a_half(offset):
    log_w = torch.randn(400, 3, generator=torch.Generator().manual_seed(0)).double() * 2
    tail = log_w.exp().sort(0).values[-61:]  # 3 √400 = 60
    for i, got in enumerate(pareto.pareto_k(log_w + offset).tolist()):
        k, _ = zhang_stephens((tail[1:, i] - tail[0, i]).numpy())
        assert got == pytest.approx((60 * k + 5) / 70, rel=1e-6)


def test_pareto_k_finds_the_tail_of_weights():
    log_w = pareto_samples(0.9, 1.0, 20_000, 50).log()
    assert pareto.pareto_k(log_w).mean().item() == pytest.approx(0.9, abs=0.05)
    bounded = torch.rand(20_000, 1, generator=torch.Generator().manual_seed(0)).log()
    assert pareto.pareto_k(bounded).item() < -0.5 and pareto.pareto_k(bounded).dtype == torch.float


def test_pareto_k_where_nothing_can_be_fitted():
    flat = torch.full((50, 1), -80.0)
    assert pareto.pareto_k(flat).item() == -math.inf
    rounding = flat.clone()
    rounding[:3] += 9e-4
    assert pareto.pareto_k(rounding).item() == -math.inf
    one = flat.clone()
    one[3] += 0.5  # one weight above many equal ones
    assert pareto.pareto_k(one).item() == math.inf
    some = torch.randn(21, 2, generator=torch.Generator().manual_seed(0))
    assert pareto.pareto_k(some[:20]).tolist() == [math.inf] * 2
    assert pareto.pareto_k(some).isfinite().all()
    assert pareto.pareto_k(torch.arange(100.0)[:, None] * 1000).item() == math.inf
