"""Gradient estimators against exact gradients of the same target, in a linear-Gaussian VAE."""

import math

import pytest
import torch
from linear_vae import (
    CORRELATED,
    ONE,
    LinearDecoder,
    LinearEncoder,
    double,
    exact_elbo,
    gaussian,
    linear_vae,
)
from torch import nn

from vae_tutorial import objectives
from vae_tutorial.distributions import DiagonalNormal
from vae_tutorial.exact import LinearGaussian
from vae_tutorial.gradients import (
    doubly_reparameterized,
    flat_gradient,
    iwae_pathwise,
    pathwise,
    score_function,
    score_function_with_baseline,
    wake_sleep,
)
from vae_tutorial.model import VAE

X2 = double([[1.0, -0.5, 0.2], [-0.8, 0.7, 1.1], [0.4, 1.3, -0.9]])
X1 = double([[0.9, -0.7], [-0.4, 1.2]])


def two():
    encoder = LinearEncoder(
        A=[[0.5, 0.1, -0.1], [0.2, 0.3, 0.3]],
        a=[0.4, -0.3],
        c=[-0.3, -1.5],
        C=[[0.1, -0.2, 0.1], [0.0, 0.2, -0.1]],
    )
    return linear_vae(CORRELATED, encoder=encoder)


def one():
    encoder = LinearEncoder(A=[[0.3, 0.1]], a=[0.5], c=[-0.2], C=[[0.2, -0.1]])
    return linear_vae(ONE, encoder=encoder)


def elbo_exact(vae, x):
    return exact_elbo(vae.decoder.exact, vae.encode(x), x).mean()


def gradient_of(objective, parameters):
    return torch.cat([g.flatten() for g in torch.autograd.grad(objective, list(parameters))])


def phi_gradient(vae, x):
    return gradient_of(elbo_exact(vae, x), vae.encoder.parameters())


def estimates(estimator, n, *args, **kwargs):
    rng = torch.Generator().manual_seed(7)
    return torch.stack([estimator(*args, rng=rng, **kwargs) for _ in range(n)])


def deviation(samples, target):
    """The largest distance, over parameters, of the mean from the target, in standard errors."""
    error = samples.std(0) / math.sqrt(len(samples))
    return ((samples.mean(0) - target).abs() / error).max().item()


def total_variance(samples):
    return samples.var(0).sum().item()


# --- the target and the helper


def test_flat_gradient_is_every_parameters_gradient_in_order():
    w, b, unused = (nn.Parameter(double(v)) for v in ([[1.0, 2.0], [3.0, 4.0]], [5.0], [6.0, 7.0]))
    gradient = flat_gradient((w**2).sum() + 3 * b.sum(), iter([w, unused, b]))
    assert gradient.tolist() == [2, 4, 6, 8, 0, 0, 3]
    assert w.grad is None  # nothing is accumulated


def test_flat_gradient_of_no_parameters_is_empty():
    assert flat_gradient(double(1.0), []).shape == (0,)


def test_flat_gradient_refuses_what_has_none():
    w, frozen = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(1), requires_grad=False)
    with pytest.raises(ValueError, match=r"must be a scalar, not of shape \[2\]"):
        flat_gradient(w * 2, [w])
    with pytest.raises(ValueError, match="a parameter is frozen"):
        flat_gradient(w.sum(), [w, frozen])
    with pytest.raises(ValueError, match="objective has no gradient: .*; compute it where"):
        flat_gradient(w.sum().detach(), [w])


def test_flat_gradient_refuses_one_parameter_in_place_of_a_list():
    layer = nn.Linear(2, 2)  # the rows of its weight would have gradient zero, in silence
    for parameters, found in [
        (layer.weight, "Parameter"),
        (layer.weight[0], "Tensor"),
        (layer, "Linear"),
        (layer.parameters, "method"),
        (nn.Sequential(layer), "of Linear"),
        (layer.state_dict(), "of str"),
        (None, "NoneType"),
    ]:
        with pytest.raises(TypeError, match=f"a list of tensors, not {found}; one is"):
            flat_gradient((layer.weight**2).sum(), parameters)
    assert flat_gradient((layer.weight**2).sum(), (layer.weight,)).shape == (4,)


# --- ∇ELBO

COUNT = 60  # estimates, each of them the mean over a large batch
MANY = X2.repeat(100, 1)  # the mean over the batch is the same, with less noise
ELBO_ESTIMATORS = [
    (score_function, {"num_samples": 1}),
    (score_function, {"num_samples": 10}),
    (score_function_with_baseline, {"num_samples": 2}),
    (score_function_with_baseline, {"num_samples": 5}),
    (pathwise, {"num_samples": 1}),
    (pathwise, {"num_samples": 5}),
    (iwae_pathwise, {"num_samples": 1}),
    (doubly_reparameterized, {"num_samples": 1}),
]


@pytest.mark.parametrize(("estimator", "settings"), ELBO_ESTIMATORS)
def test_unbiased_for_the_gradient_of_the_elbo(estimator, settings):
    vae = two()
    samples = estimates(estimator, COUNT, vae, MANY, **settings)
    assert samples.shape == (COUNT, 16)
    assert deviation(samples, phi_gradient(vae, X2)) < 5
    assert deviation(samples, 0) > 15  # the gradient is far from zero, and points uphill


def wrong_score(kind):
    def estimator(vae, x, num_samples, rng):
        q, z = objectives.sample_posterior(vae, x, num_samples, rng)
        log_q = q.log_prob(z.detach())
        log_w = objectives.log_weights(vae, x, q, z).detach()
        f = {
            "without log q": log_w + log_q.detach(),
            "without log p(z)": log_w - vae.prior.log_prob(z).detach(),
            "a baseline that sees its own sample": log_w - log_w.mean(0),
        }[kind]
        return flat_gradient((f * log_q).mean(), vae.encoder.parameters())

    return estimator


@pytest.mark.parametrize(
    ("kind", "num_samples"),
    [
        ("without log q", 10),
        ("without log p(z)", 10),
        ("a baseline that sees its own sample", 2),
        ("a baseline that sees its own sample", 5),
    ],
)
def test_wrong_score_functions_are_told_apart(kind, num_samples):
    vae = two()
    samples = estimates(wrong_score(kind), COUNT, vae, MANY, num_samples=num_samples)
    assert deviation(samples, phi_gradient(vae, X2)) > 10


def test_the_term_that_score_function_leaves_out_has_mean_zero():
    def left_out(vae, x, rng):
        q, z = objectives.sample_posterior(vae, x, 1, rng)
        return flat_gradient(-q.log_prob(z.detach()).mean(), vae.encoder.parameters())

    samples = estimates(left_out, COUNT, two(), MANY)
    assert deviation(samples, 0) < 5 and samples.std(0).min() > 0


def test_variances_at_five_samples_are_ordered():
    vae = two()
    score, baseline, path = (
        total_variance(estimates(f, COUNT, vae, MANY, num_samples=5))
        for f in (score_function, score_function_with_baseline, pathwise)
    )
    assert 5 * path < baseline < 0.5 * score


def test_a_constant_in_the_joint_costs_the_score_function_variance_and_the_baseline_nothing():
    vae = two()
    constant = LinearGaussian(
        torch.cat([CORRELATED.W, torch.zeros(1, 2)]),
        torch.cat([CORRELATED.mean, double([0.0])]),
        torch.cat([CORRELATED.noise, double([1.0])]),
    )  # a fourth value of x that does not depend on z, so log p(x, z) moves by log N(x_4; 0, 1)
    encoder = two().encoder
    encoder.A.data = nn.functional.pad(vae.encoder.A.data, (0, 1))
    encoder.C.data = nn.functional.pad(vae.encoder.C.data, (0, 1))
    wide = linear_vae(constant, encoder=encoder)
    x = torch.cat([MANY, torch.full((len(MANY), 1), 8.0).double()], 1)
    kept = [i for i in range(20) if i not in (3, 7, 15, 19)]  # not the last columns of A and C

    narrow_score = estimates(score_function, 20, vae, MANY, num_samples=2)
    wide_score = estimates(score_function, 20, wide, x, num_samples=2)[:, kept]
    assert total_variance(wide_score) > 5 * total_variance(narrow_score)
    ours = score_function_with_baseline(wide, x, num_samples=2, rng=3)[kept]
    torch.testing.assert_close(ours, score_function_with_baseline(vae, MANY, num_samples=2, rng=3))


# --- ∇IWAE-k


def iwae_exact(vae, x, k, nodes=120):
    """IWAE-k for J = 1, by the trapezoidal rule over the noise in k dimensions, with log p(x, z)
    from the exact posterior."""
    eps = torch.linspace(-8, 8, nodes, dtype=torch.double)
    weight = torch.softmax(-0.5 * eps**2, 0)
    q = vae.encode(x)
    z = q.mu + (q.log_var / 2).exp() * eps[:, None, None]  # [nodes, B, 1]
    log_q = -0.5 * (math.log(2 * math.pi) + q.log_var + eps[:, None, None] ** 2).sum(-1)
    truth = vae.decoder.exact
    log_w = truth.log_evidence(x) + truth.posterior(x).log_prob(z) - log_q  # [nodes, B]
    grid = torch.cartesian_prod(*[torch.arange(nodes)] * k).reshape(-1, k)
    bound = torch.logsumexp(log_w[grid], 1) - math.log(k)  # [nodes ** k, B]
    return (weight[grid].prod(1)[:, None] * bound).sum(0).mean()


def iwae_gradient(vae, x, k, nodes=120):
    return gradient_of(iwae_exact(vae, x, k, nodes), vae.encoder.parameters())


def test_the_quadrature_is_the_elbo_at_one_sample_and_has_converged_at_two():
    vae = one()
    torch.testing.assert_close(iwae_exact(vae, X1, 1), elbo_exact(vae, X1))
    torch.testing.assert_close(iwae_gradient(vae, X1, 1), phi_gradient(vae, X1))
    torch.testing.assert_close(
        iwae_gradient(vae, X1, 2), iwae_gradient(vae, X1, 2, nodes=200), rtol=1e-6, atol=1e-8
    )
    assert elbo_exact(vae, X1) < iwae_exact(vae, X1, 2) < vae.decoder.exact.log_evidence(X1).mean()


def wrong_dreg(kind):
    def estimator(vae, x, num_samples, rng):
        q, z = objectives.sample_posterior(vae, x, num_samples, rng)
        fixed = q if kind == "q not detached" else q.detached()
        log_w = objectives.log_weights(vae, x, fixed, z)
        power = {"first power": 1, "third power": 3}.get(kind, 2)
        weight = torch.softmax(log_w.detach(), 0) ** power
        weight = weight / weight.sum(0) if kind == "normalized again" else weight
        return flat_gradient((weight * log_w).sum(0).mean(), vae.encoder.parameters())

    return estimator


@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize("estimator", [iwae_pathwise, doubly_reparameterized])
def test_unbiased_for_the_gradient_of_the_importance_weighted_bound(estimator, k):
    vae = one()
    target = iwae_gradient(vae, X1, k, nodes={2: 120, 3: 50}[k])
    samples = estimates(estimator, COUNT, vae, X1.repeat(200, 1), num_samples=k)
    assert deviation(samples, target) < 5
    assert deviation(samples, phi_gradient(vae, X1)) > 10  # not the gradient of the ELBO


@pytest.mark.parametrize(
    "kind", ["first power", "third power", "normalized again", "q not detached"]
)
def test_wrong_dregs_are_told_apart(kind):
    vae = one()
    samples = estimates(wrong_dreg(kind), COUNT, vae, X1.repeat(200, 1), num_samples=2)
    assert deviation(samples, iwae_gradient(vae, X1, 2)) > 10


def test_dreg_has_less_variance_than_the_pathwise_gradient_of_the_same_bound():
    vae = one()
    for k in (2, 10):
        path, dreg = (
            total_variance(estimates(f, 60, vae, X1.repeat(60, 1), num_samples=k))
            for f in (iwae_pathwise, doubly_reparameterized)
        )
        assert dreg < 0.7 * path


# --- where q(z|x) is the posterior


def at_the_posterior():
    return linear_vae(CORRELATED, "full")


def test_baseline_and_dreg_have_no_variance_where_q_is_the_posterior():
    vae = at_the_posterior()
    for k in (1, 2, 7):
        assert estimates(doubly_reparameterized, 5, vae, X2, num_samples=k).abs().max() < 1e-12
    for num_samples in (2, 7):
        samples = estimates(score_function_with_baseline, 5, vae, X2, num_samples=num_samples)
        assert samples.abs().max() < 1e-12


def test_the_others_are_noise_around_zero_where_q_is_the_posterior():
    vae = at_the_posterior()
    for estimator in (score_function, pathwise):
        samples = estimates(estimator, COUNT, vae, MANY, num_samples=1)
        assert deviation(samples, 0) < 5 and total_variance(samples) > 1e-2
    for k in (1, 3):
        assert total_variance(estimates(iwae_pathwise, 20, vae, MANY, num_samples=k)) > 1e-3


def test_form_a_is_minus_the_score_where_q_is_the_posterior():
    vae = at_the_posterior()
    q, z = objectives.sample_posterior(vae, X2, 1, rng=4)
    score = flat_gradient(q.log_prob(z.detach()).mean(), vae.encoder.parameters())
    torch.testing.assert_close(iwae_pathwise(vae, X2, num_samples=1, rng=4), -score)


# --- wake-sleep


def sleep_exact(vae):
    """E_p(z)p(x|z)[log q(z|x)] for z ~ N(m, diag(v)) and one covariance of q for all x: with
    e = z − A x − a Gaussian, −½ Σ_j [log 2π + c_j + E[e_j²] exp(−c_j)]."""
    q, p = vae.encoder, vae.decoder.exact
    m, v = vae.prior.mu, vae.prior.log_var.exp()
    through = torch.eye(len(m), dtype=torch.double) - q.A @ p.W
    bias = through @ m - q.A @ p.mean - q.a
    variance = (through**2 @ v) + (q.A**2 @ p.noise)
    return -0.5 * (math.log(2 * math.pi) + q.c + (variance + bias**2) * (-q.c).exp()).sum()


def expected_kl(vae, forward):
    """E_p(x)[KL(p(z|x)‖q(z|x))] or, if not forward, E_p(x)[KL(q(z|x)‖p(z|x))]."""
    q, p = vae.encoder, vae.decoder.exact
    x = torch.cat([p.mean[None], p.mean + torch.eye(3).double()])
    means = p.posterior(x).mean.detach()
    M = (means[1:] - means[0]).T  # the posterior's mean is means[0] + M (x − mean)
    spread = (M - q.A) @ p.covariance @ (M - q.A).T
    bias = means[0] - q.A @ p.mean - q.a
    second = spread + torch.outer(bias, bias)  # E[(difference of the means)(…)ᵀ]
    S, D = torch.linalg.inv(p.posterior_precision), torch.diag(q.c.exp())
    first, other = (S, D) if forward else (D, S)
    precision = torch.linalg.inv(other)
    log_ratio = torch.logdet(other) - torch.logdet(first)
    return 0.5 * (((first + second) * precision).sum() - len(bias) + log_ratio)


def sleeper(prior=None):
    encoder = LinearEncoder(A=two().encoder.A.tolist(), a=[0.4, -0.3], c=[-0.3, -1.5])
    return linear_vae(CORRELATED, encoder=encoder, prior=prior)


class Prior(nn.Module):
    def __init__(self):
        super().__init__()
        self.mu, self.log_var = (
            nn.Parameter(double([0.6, -0.4])),
            nn.Parameter(double([0.5, -0.8])),
        )

    def forward(self):
        return DiagonalNormal(self.mu, self.log_var)


def test_sleep_is_the_gradient_of_minus_the_other_kl_under_the_models_own_data():
    vae = sleeper()
    target = gradient_of(sleep_exact(vae), vae.encoder.parameters())
    by_kl = gradient_of(-expected_kl(vae, forward=True), vae.encoder.parameters())
    torch.testing.assert_close(by_kl, target)

    phi = estimates(lambda *a, rng: wake_sleep(*a, rng=rng).phi, COUNT, vae, MANY)
    assert phi.shape == (COUNT, 10)
    assert deviation(phi, target) < 5
    others = [
        -target,
        phi_gradient(vae, X2),
        gradient_of(-expected_kl(vae, forward=False), vae.encoder.parameters()),
    ]
    assert all(deviation(phi, wrong) > 10 for wrong in others)


def test_wake_is_the_gradient_of_the_elbo_in_theta():
    vae = sleeper()
    target = gradient_of(elbo_exact(vae, X2), vae.decoder.parameters())
    theta = estimates(lambda *a, rng: wake_sleep(*a, rng=rng).theta, COUNT, vae, MANY)
    assert theta.shape == (COUNT, 12)
    assert deviation(theta, target) < 5 and deviation(theta, -target) > 10


def test_wake_sleep_reaches_and_uses_a_prior_with_parameters():
    vae = sleeper(Prior())
    q = vae.encode(X2)
    square = (q.mu.detach() - vae.prior_network.mu) ** 2 + q.log_var.detach().exp()
    log_var = vae.prior_network.log_var
    of_prior = -0.5 * (log_var + square * (-log_var).exp()).sum(-1).mean()
    steps = [wake_sleep(vae, MANY, rng=rng) for rng in range(COUNT)]
    theta, phi = (torch.stack([getattr(s, name) for s in steps]) for name in ("theta", "phi"))
    assert theta.shape == (COUNT, 12 + 4)
    prior_target = gradient_of(of_prior, vae.prior_network.parameters())
    assert deviation(theta[:, 12:], prior_target) < 5 and deviation(theta[:, 12:], 0) > 10
    target = gradient_of(sleep_exact(vae), vae.encoder.parameters())
    other = sleeper()  # the same, but with dreams from N(0, I)
    standard = gradient_of(sleep_exact(other), other.encoder.parameters())
    assert deviation(phi, target) < 5 and deviation(phi, standard) > 10


def test_wake_holds_the_sample_fixed_even_where_the_networks_share_parameters():
    vae = two()
    vae.decoder.shared = vae.encoder  # its parameters are now theta's too
    theta = wake_sleep(vae, X2, rng=0).theta
    assert theta.shape == (12 + 16,) and theta[:12].all() and not theta[12:].any()


def test_sleep_is_zero_in_expectation_where_q_is_the_posterior():
    samples = estimates(
        lambda *a, rng: wake_sleep(*a, rng=rng).phi, COUNT, at_the_posterior(), MANY
    )
    assert deviation(samples, 0) < 5 and samples.std(0).max() > 1e-3


def test_a_frozen_decoder_without_parameters_has_an_empty_theta():
    class Fixed(nn.Module):
        def forward(self, z):
            return LinearDecoder(CORRELATED)(z).detach()

    fixed = VAE(two().encoder, Fixed(), 2, likelihood=gaussian, device="cpu")
    step = wake_sleep(fixed.double(), X2, rng=0)
    assert step.theta.shape == (0,) and step.phi.shape == (16,)


# --- randomness and the door

ALL = [
    score_function,
    score_function_with_baseline,
    pathwise,
    lambda model, x, rng=None: iwae_pathwise(model, x, num_samples=3, rng=rng),
    lambda model, x, rng=None: doubly_reparameterized(model, x, num_samples=3, rng=rng),
    lambda model, x, rng=None: wake_sleep(model, x, rng=rng).theta,
    lambda model, x, rng=None: wake_sleep(model, x, rng=rng).phi,
]


@pytest.mark.parametrize("estimator", ALL)
def test_samples_come_from_the_random_source_alone(estimator):
    vae = VAE.mlp(6, 2, hidden=(4,))
    x = torch.ones(3, 6, device=vae.device)
    state = torch.random.get_rng_state()
    first, again, other = (estimator(vae, x, rng=seed) for seed in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert not torch.equal(estimator(vae, x), estimator(vae, x))
    rng = torch.Generator().manual_seed(0)
    assert torch.equal(estimator(vae, x, rng=rng), first)  # ... and a generator moves on
    assert not torch.equal(estimator(vae, x, rng=rng), first)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(p.grad is None for p in vae.parameters())


@pytest.mark.parametrize("estimator", ALL)
def test_bad_data_is_refused(estimator):
    with pytest.raises(ValueError, match="Bernoulli likelihood is only for binary data"):
        estimator(VAE.mlp(6, 2, hidden=(4,)), torch.full((2, 6), 0.5))


@pytest.mark.parametrize("number", [0, -1, 2.0, True])
def test_nonsensical_numbers_of_samples_are_refused(number):
    vae = two()
    for estimator in (
        score_function, score_function_with_baseline, pathwise, iwae_pathwise,
        doubly_reparameterized,
    ):  # fmt: skip
        with pytest.raises(ValueError, match="num_samples must be a whole number of at least 1"):
            estimator(vae, X2, num_samples=number)


def test_a_baseline_needs_another_sample():
    with pytest.raises(ValueError, match="num_samples must be at least 2, not 1; the baseline"):
        score_function_with_baseline(two(), X2, num_samples=1)
