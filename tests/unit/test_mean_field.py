"""Mean-field updates against exact posteriors, quadrature and Monte Carlo."""

import ast
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch.distributions import Bernoulli, Gamma, Independent, MultivariateNormal, Normal
from torch.distributions import kl_divergence as kl

from vae_tutorial import mean_field
from vae_tutorial.mean_field import (
    GaussianTarget,
    LogisticRegression,
    NormalGamma,
    NormalGammaFactors,
)
from vae_tutorial.randomness import forked_seed


def double(values):
    return torch.tensor(values, dtype=torch.double)


def test_it_imports_nothing_of_the_package():
    for file in Path(mean_field.__file__).parent.glob("*.py"):
        nodes = ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        names = [n.module for n in nodes if isinstance(n, ast.ImportFrom)]
        own = [name.startswith("vae_tutorial.mean_field") for name in names]
        theirs = [name.startswith("vae_tutorial") for name in names]
        assert names and own == theirs


# --- a correlated Gaussian

numbers = st.floats(-2, 2, allow_nan=False)


@st.composite
def gaussians(draw):
    J = draw(st.integers(1, 4))
    root = double(draw(st.lists(numbers, min_size=J * J, max_size=J * J))).reshape(J, J)
    mean, start = (double(draw(st.lists(numbers, min_size=J, max_size=J))) for _ in range(2))
    return GaussianTarget(mean, root @ root.T + torch.eye(J).double()), start


def fixed_point(target, m):
    while not torch.allclose(new := target.sweep(m), m, rtol=0, atol=1e-9):
        m = new
    return m


def independent(m, variances):
    return Independent(Normal(m, variances.sqrt()), 1)


@settings(max_examples=25)
@given(gaussians())
def test_gaussian_elbo_is_minus_the_kl_and_rises_with_every_sweep(case):
    target, m = case
    p = MultivariateNormal(target.mean, precision_matrix=target.precision)
    for _ in range(3):
        for v in (target.variances, 2 * target.variances + 0.1):
            ours = target.elbo(m, v)
            exact = -kl(MultivariateNormal(m, torch.diag(v)), p)
            torch.testing.assert_close(ours, exact, rtol=1e-8, atol=1e-8)
        new = target.sweep(m)
        assert target.elbo(new, target.variances) >= target.elbo(m, target.variances) - 1e-12
        m = new


@settings(max_examples=20)
@given(gaussians())
def test_gaussian_fixed_point_has_exact_means_and_too_small_variances(case):
    target, start = case
    m = fixed_point(target, start)
    torch.testing.assert_close(m, target.mean, rtol=1e-6, atol=1e-6)
    exact = torch.diagonal(torch.linalg.inv(target.precision))
    torch.testing.assert_close(target.variances, 1 / target.precision.diagonal())
    assert (target.variances <= exact + 1e-12).all()
    best = 0.5 * (torch.logdet(target.precision) - target.precision.diagonal().log().sum())
    torch.testing.assert_close(target.elbo(m, target.variances), best, rtol=1e-6, atol=1e-8)


TARGET = GaussianTarget(double([1.0, -2.0, 0.5]), double([[2, 1, 0], [1, 3, -1], [0, -1, 1.5]]))


def test_gaussian_sweep_uses_new_values_at_once():
    m = double([0.0, 0.0, 0.0])
    first = 1.0 - 1 * (0 + 2) / 2  # mean_1 − Λ_12 (m_2 − mean_2)/Λ_11
    second = -2.0 - (1 * (first - 1) - 1 * (0 - 0.5)) / 3
    third = 0.5 + (second + 2) / 1.5
    torch.testing.assert_close(TARGET.sweep(m), double([first, second, third]))
    assert m.tolist() == [0, 0, 0]  # the argument is left alone


def test_gaussian_exact_variances_are_not_the_maximum():
    exact = torch.linalg.inv(TARGET.precision).diagonal()
    assert (TARGET.variances < 0.9 * exact).all()  # too narrow, strictly: all are correlated
    best = TARGET.elbo(TARGET.mean, TARGET.variances)
    assert best < 0  # no factorized q is p, so the KL stays positive
    assert TARGET.elbo(TARGET.mean, exact) < best - 0.01
    for j in range(3):
        for factor in (0.97, 1.03):
            v = TARGET.variances.clone()
            v[j] *= factor
            assert TARGET.elbo(TARGET.mean, v) < best
            m = TARGET.mean.clone()
            m[j] += factor - 1
            assert TARGET.elbo(m, TARGET.variances) < best


@pytest.mark.parametrize(
    ("mean", "precision", "words"),
    [
        ([0.0, 0.0], [[1.0]], r"^precision must have shape \[J, J\], J = 2, .* not \[1, 1\]; "),
        ([[0.0]], [[1.0]], r"^mean must have shape \[J\], .* not \[1, 1\]; "),
        ([], [[]], r"^mean must have shape \[J\], and none of them 0, not \[0\]; "),
        ([math.nan, 0.0], [[1.0, 0.0], [0.0, 1.0]], "^mean holds NaN or infinite values; "),
        ([0.0], [[math.inf]], "^precision holds NaN or infinite values; "),
        ([0.0, 0.0], [[1.0, 0.5], [0.2, 1.0]], "symmetric .* from its transpose by 0.3 and"),
        ([0.0, 0.0], [[1.0, 2.0], [2.0, 1.0]], "positive definite.* an eigenvalue of -1; it is"),
    ],
)
def test_gaussian_refuses_what_is_no_precision(mean, precision, words):
    with pytest.raises(ValueError, match=words):
        GaussianTarget(double(mean), double(precision))


# --- a Gaussian with unknown mean and precision

DATA = double([1.2, 0.4, 2.1, -0.3, 1.7])
MODEL = NormalGamma(m0=0.5, k0=0.8, a0=1.5, b0=0.7)


def log_joint(model, x, mu, tau):
    prior = Gamma(double(model.a0), double(model.b0)).log_prob(tau)
    prior = prior + Normal(double(model.m0), (model.k0 * tau) ** -0.5).log_prob(mu)
    return prior + Normal(mu[..., None], tau[..., None] ** -0.5).log_prob(x).sum(-1)


def factors(q):
    return Normal(double(q.m), double(q.precision) ** -0.5), Gamma(double(q.a), double(q.b))


def converged(model, x, q=None):
    q = q or model.prior()
    for _ in range(200):
        q = model.sweep(x, q)
    return q


def test_evidence_and_posterior_equal_quadrature():
    mu = torch.linspace(-12, 14, 1301, dtype=torch.double)
    log_tau = torch.linspace(-9, 4, 651, dtype=torch.double)
    grid_mu, grid_tau = torch.meshgrid(mu, log_tau.exp(), indexing="ij")
    values = log_joint(MODEL, DATA, grid_mu, grid_tau) + log_tau  # the Jacobian of log tau
    area = (mu[1] - mu[0]) * (log_tau[1] - log_tau[0])
    evidence = torch.logsumexp(values.flatten(), 0) + area.log()
    assert MODEL.log_evidence(DATA) == pytest.approx(evidence.item(), abs=1e-5)

    m, k, a, b = MODEL.posterior(DATA)
    weight = torch.softmax(values.flatten(), 0).reshape(values.shape)
    assert (weight * grid_mu).sum().item() == pytest.approx(m, abs=1e-4)
    assert (weight * grid_tau).sum().item() == pytest.approx(a / b, abs=1e-4)
    spread = (weight * (grid_mu - m) ** 2).sum().item()
    assert spread == pytest.approx(b / (a - 1) / k, rel=1e-3)


@pytest.mark.parametrize("q", [NormalGammaFactors(0.3, 2.0, 3.0, 1.5), converged(MODEL, DATA)])
def test_normal_gamma_elbo_is_the_mean_of_the_log_ratio(q):
    q_mu, q_tau = factors(q)
    with forked_seed(0):
        mu, tau = q_mu.sample((200_000,)), q_tau.sample((200_000,))
    ratio = log_joint(MODEL, DATA, mu, tau) - q_mu.log_prob(mu) - q_tau.log_prob(tau)
    error = ratio.std().item() / math.sqrt(len(ratio))
    assert abs(ratio.mean().item() - MODEL.elbo(DATA, q)) < 5 * error
    assert error < 0.02


positive = st.floats(0.1, 5)


@settings(max_examples=50)
@given(
    st.builds(NormalGamma, numbers, positive, positive, positive),
    st.lists(numbers, min_size=1, max_size=6).map(double),
    st.builds(NormalGammaFactors, numbers, positive, positive, positive),
)
def test_normal_gamma_elbo_rises_with_every_update_and_stays_below_the_evidence(model, x, q):
    evidence = model.log_evidence(x)
    for _ in range(4):
        for update in (model.update_mu, model.update_tau):
            new = update(x, q)
            assert model.elbo(x, q) - 1e-9 <= model.elbo(x, new) < evidence
            q = new
    swept = model.sweep(x, q)
    assert swept == model.update_tau(x, model.update_mu(x, q))


@settings(max_examples=50)
@given(
    st.builds(NormalGamma, numbers, positive, positive, positive),
    st.lists(numbers, min_size=2, max_size=6).map(double),
)
def test_normal_gamma_limit_has_exact_means_and_too_narrow_factors(model, x):
    q = converged(model, x)
    m, k, a, b = model.posterior(x)
    assert q.m == pytest.approx(m, abs=1e-9)
    assert q.tau == pytest.approx(a / b, rel=1e-9)
    assert q.a == pytest.approx(a + 0.5)
    assert q.a / q.b**2 < a / b**2  # the variance of tau
    assume(a > 1)
    assert 1 / q.precision < b / (a - 1) / k  # the variance of mu, which is a Student t


@pytest.mark.parametrize("name", ["m", "precision", "a", "b"])
@pytest.mark.parametrize("move", [-0.02, 0.02])
def test_normal_gamma_limit_is_the_maximum(name, move):
    q = converged(MODEL, DATA)
    worse = replace(q, **{name: getattr(q, name) + move})
    assert MODEL.elbo(DATA, worse) < MODEL.elbo(DATA, q) - 1e-6


def test_normal_gamma_gap_closes_as_data_arrive():
    x = DATA.repeat(400)
    gaps = [MODEL.log_evidence(d) - MODEL.elbo(d, converged(MODEL, d)) for d in (DATA, x)]
    assert 0 < gaps[1] < 0.01 * gaps[0]


def test_normal_gamma_starts_at_the_prior():
    q = NormalGamma(m0=2.0, k0=3.0, a0=4.0, b0=6.0).prior()
    assert (q.m, q.precision, q.a, q.b) == (2.0, 2.0, 4.0, 6.0)
    standard = NormalGamma()
    assert (standard.m0, standard.k0, standard.a0, standard.b0) == (0, 1, 1, 1)


INFINITE = double([0.0, math.inf])
NOTHING = double([])


@pytest.mark.parametrize(
    ("m", "variances", "error", "words"),
    [
        (0.0, double([1.0] * 3), TypeError, "^m must be a torch.Tensor, not float; "),
        (
            double([0.0]),
            double([1.0] * 3),
            ValueError,
            r"^m must have shape \[J\], J = 3, .*\[1\]",
        ),
        (
            torch.zeros(3),
            double([1.0] * 3),
            TypeError,
            "^m must be torch.float64 .*float32 on cpu; ",
        ),
        (
            double([0.0] * 3),
            torch.ones(3).long(),
            TypeError,
            "^variances must be .*int64 on cpu; ",
        ),
        (
            double([0.0] * 3),
            double([1.0]),
            ValueError,
            r"^variances must have shape .* not \[1\]; ",
        ),
        (double([0.0] * 3), double([1, 0, 1]), ValueError, "positive, but the smallest is 0; a"),
        (double([0.0] * 3), double([1, 1, math.nan]), ValueError, "^variances holds NaN"),
    ],
)
def test_gaussian_elbo_and_sweep_refuse_what_is_no_factor(m, variances, error, words):
    with pytest.raises(error, match=words):
        TARGET.elbo(m, variances)
    if "^m " in words:
        with pytest.raises(error, match=words):
            TARGET.sweep(m)


@pytest.mark.parametrize("method", ["update_mu", "update_tau", "sweep", "elbo"])
@pytest.mark.parametrize(
    ("x", "error", "words"),
    [
        ([1.0, 2.0], TypeError, "^x must be a torch.Tensor, not list; torch.as_tensor makes one"),
        (torch.zeros(5, 2), ValueError, r"^x must have shape \[N\], .* not \[5, 2\]; reshape it"),
        (NOTHING, ValueError, r"^x must have shape \[N\], and none of them 0, not \[0\]; "),
        (INFINITE, ValueError, "^x holds NaN or infinite values; remove or repair them"),
        (torch.arange(3), TypeError, "^x must be torch.float32 or torch.float64, not torch.int64"),
    ],
)
def test_normal_gamma_refuses_what_is_no_row_of_numbers(method, x, error, words):
    with pytest.raises(error, match=words):
        getattr(MODEL, method)(x, MODEL.prior())
    for exact in (MODEL.log_evidence, MODEL.posterior):
        with pytest.raises(error, match=words):
            exact(x)


@pytest.mark.parametrize("name", ["m", "precision", "a", "b"])
@pytest.mark.parametrize("value", [math.nan, -math.inf, None, True])
def test_factors_hold_finite_numbers(name, value):
    with pytest.raises(ValueError, match=f"^{name} must be a finite number.*, not {value}; "):
        replace(MODEL.prior(), **{name: value})
    if name != "m":
        with pytest.raises(ValueError, match=f"^{name} must be a finite number above 0, not 0"):
            replace(MODEL.prior(), **{name: 0})


@pytest.mark.parametrize("value", [math.nan, math.inf, "0"])
def test_normal_gamma_refuses_a_prior_mean_that_is_no_number(value):
    with pytest.raises(ValueError, match="^m0 must be a finite number, not "):
        NormalGamma(m0=value)


@pytest.mark.parametrize("name", ["k0", "a0", "b0"])
@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf])
def test_normal_gamma_refuses_bad_parameters(name, value):
    with pytest.raises(ValueError, match=f"{name} must be a finite number above 0, not "):
        NormalGamma(**{name: value})


# --- logistic regression

ONE = LogisticRegression(torch.ones(6, 1).double(), double([1, 1, 1, 1, 0, 1]), 4.0)
TWO = LogisticRegression(
    double([[1.0, 0.5], [1.0, -2.0], [0.3, 1.5], [-1.2, 0.7], [2.0, 2.0]]),
    double([1, 0, 1, 1, 0]),
    2.5,
)
CASES = [ONE, TWO]


def start(model, m=0.0):
    J = model.x.shape[1]
    return torch.full((J,), m).double(), torch.full((J,), model.prior_variance).double()


def optimum(model, sweeps=30):
    m, v = start(model)
    for _ in range(sweeps):
        m, v = model.sweep(m, v)
    return m, v


def log_evidence(model):
    """log p(y), and E[z|y], by a grid over z."""
    J = model.x.shape[1]
    side = torch.linspace(-16, 16, 801 if J == 1 else 401, dtype=torch.double)
    z = torch.cartesian_prod(*[side] * J).reshape(-1, J)
    prior = Normal(0.0, model.prior_variance**0.5).log_prob(z).sum(-1)
    log_p = prior + Bernoulli(logits=z @ model.x.T).log_prob(model.y).sum(-1)
    evidence = torch.logsumexp(log_p, 0) + J * (side[1] - side[0]).log()
    return evidence, torch.softmax(log_p, 0) @ z


@pytest.mark.parametrize("model", CASES)
def test_logistic_elbo_is_the_mean_of_the_log_ratio(model):
    m = torch.linspace(0.4, -0.9, model.x.shape[1]).double()
    v = torch.linspace(0.5, 1.8, model.x.shape[1]).double()
    q = independent(m, v)
    with forked_seed(1):
        z = q.sample((100_000,))
    prior = independent(torch.zeros_like(m), torch.full_like(m, model.prior_variance))
    likelihood = Bernoulli(logits=z @ model.x.T).log_prob(model.y).sum(-1)
    ratio = likelihood + prior.log_prob(z) - q.log_prob(z)
    error = ratio.std() / math.sqrt(len(ratio))
    assert (ratio.mean() - model.elbo(m, v)).abs() < 5 * error
    shortcut = Bernoulli(logits=model.x @ m).log_prob(model.y).sum() - kl(q, prior)
    assert (ratio.mean() - shortcut).abs() > 20 * error  # log(1 + e^E[a]) for E[log(1 + e^a)]


@pytest.mark.parametrize("model", CASES)
@pytest.mark.parametrize("m", [0.0, 3.0, -20.0])
def test_logistic_elbo_rises_with_every_sweep_and_stays_below_the_evidence(model, m):
    evidence, _ = log_evidence(model)
    m, v = start(model, m)
    before = model.elbo(m, v)
    rises = []
    for _ in range(30):
        m, v = model.sweep(m, v)
        after = model.elbo(m, v)
        assert before <= after < evidence
        rises.append(after - before)
        before = after
    assert rises[0] > 0.1 and rises[-1] < 1e-10
    torch.testing.assert_close(before, model.elbo(*optimum(model)))  # from everywhere, the same


@pytest.mark.parametrize("model", CASES)
def test_logistic_limit_is_the_maximum(model):
    m, v = (t.requires_grad_() for t in optimum(model))
    best = model.elbo(m, v)
    slopes = torch.autograd.grad(best, [m, v])
    assert max(s.abs().max() for s in slopes) < 1e-6
    with torch.no_grad():
        for j in range(len(m)):
            for move in (-0.05, 0.05):
                shift = torch.zeros_like(m)
                shift[j] = move
                assert model.elbo(m + shift, v) < best - 1e-5
                assert model.elbo(m, v + shift) < best - 1e-5


def test_logistic_steps_are_halved_in_the_variance_too():
    """From here the whole step in v_j makes the ELBO fall, however small the step in m_j."""
    wide = LogisticRegression(torch.ones(6, 1).double(), double([1, 1, 0, 1, 1, 0]), 100.0)
    m, v = double([8.0]), double([1.0])
    for _ in range(30):
        m, v = wide.sweep(m, v)
    torch.testing.assert_close(wide.elbo(m, v), wide.elbo(*optimum(wide)))


def test_logistic_gap_is_small_and_the_mean_close_but_neither_is_exact():
    evidence, mean = log_evidence(ONE)
    m, v = optimum(ONE)
    gap = (evidence - ONE.elbo(m, v)).item()
    assert 1e-4 < gap < 0.05
    assert 1e-4 < (m - mean).abs().item() < 0.2


def test_logistic_shortcut_is_no_bound():
    """With log(1 + e^E[a]) for E[log(1 + e^a)], the "ELBO" can exceed log p(y)."""
    even = LogisticRegression(torch.ones(6, 1).double(), double([1, 0, 1, 0, 1, 0]), 4.0)
    m, v = start(even)  # q is the prior, so the KL is zero
    shortcut = Bernoulli(logits=even.x @ m).log_prob(even.y).sum()
    assert even.elbo(m, v) + 0.1 < log_evidence(even)[0] < shortcut - 0.1


def test_logistic_sweep_leaves_its_arguments_alone_and_moves_every_factor():
    m, v = start(TWO)
    new_m, new_v = TWO.sweep(m, v)
    assert m.tolist() == [0, 0] and v.tolist() == [2.5, 2.5]
    assert (new_m != m).all() and (new_v < v).all()  # log p(y|z) is concave: data narrow q


def test_logistic_without_data_stays_at_the_prior():
    nothing = LogisticRegression(torch.zeros(1, 2).double(), double([1]), 3.0)
    m, v = nothing.sweep(*start(nothing))
    torch.testing.assert_close(m, double([0.0, 0.0]))
    torch.testing.assert_close(v, double([3.0, 3.0]))
    assert nothing.elbo(m, v).item() == pytest.approx(-math.log(2))
    assert LogisticRegression(nothing.x, nothing.y).prior_variance == 1


@pytest.mark.parametrize(
    ("x", "y", "variance", "words"),
    [
        ([[1.0]], [1.0, 0.0], 1.0, r"^y must have shape \[N\], N = 1, .* not \[2\]; "),
        ([1.0], [1.0], 1.0, r"^x must have shape \[N, J\], .* not \[1\]; "),
        ([[], []], [1.0, 0.0], 1.0, r"^x must have shape \[N, J\], .* not \[2, 0\]; "),
        ([[math.nan]], [1.0], 1.0, "^x holds NaN or infinite values; "),
        ([[1.0]], [0.5], 1.0, "y must hold only 0 and 1"),
        ([[1.0]], [1.0], 0.0, "prior_variance must be a finite number above 0, not 0.0"),
        ([[1.0]], [1.0], math.nan, "not nan"),
        ([[1.0]], [1.0], math.inf, "not inf"),
    ],
)
def test_logistic_refuses_bad_data(x, y, variance, words):
    with pytest.raises(ValueError, match=words):
        LogisticRegression(double(x), double(y), variance)


@pytest.mark.parametrize("method", ["elbo", "sweep"])
@pytest.mark.parametrize(
    ("m", "v", "error", "words"),
    [
        (
            double([0.0]),
            double([1.0, 1.0]),
            ValueError,
            r"^m must have shape \[J\], J = 2, .*\[1\]; ",
        ),
        (
            double([0.0, 0.0]),
            double(1.0),
            ValueError,
            r"^v must have shape \[J\], J = 2, .* \[\]; ",
        ),
        (torch.zeros(2), double([1.0, 1.0]), TypeError, "^m must be torch.float64 on cpu, not "),
        (double([0.0, math.nan]), double([1.0, 1.0]), ValueError, "^m holds NaN or infinite"),
        (double([0.0, 0.0]), double([1.0, -1.0]), ValueError, "^v must be positive, .* is -1; "),
    ],
)
def test_logistic_elbo_and_sweep_refuse_what_is_no_factor(method, m, v, error, words):
    with pytest.raises(error, match=words):
        getattr(TWO, method)(m, v)


def test_logistic_refuses_outcomes_of_another_type():
    with pytest.raises(
        TypeError, match="^y must be torch.float64 on cpu, not torch.int64 on cpu; "
    ):
        LogisticRegression(torch.ones(1, 1).double(), torch.ones(1).long())
