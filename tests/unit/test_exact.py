"""The exact models against quadrature, torch.distributions, scikit-learn and each other."""

import math
import warnings
from itertools import pairwise

import pytest
import torch
from sklearn.decomposition import PCA, FactorAnalysis
from sklearn.mixture import GaussianMixture as SklearnMixture
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal, kl_divergence

from vae_tutorial.exact import GaussianMixture, LinearGaussian


def normal(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.double, generator=torch.Generator().manual_seed(seed))


def double(values):
    return torch.tensor(values, dtype=torch.double)


@pytest.fixture
def model():
    noise = torch.tensor([0.3, 0.5, 1.2]).double()
    return LinearGaussian(normal(3, 2), normal(3, seed=1), noise)


X = 2 * normal(4, 3, seed=2)


def grid(half=9.0, n=501):
    """Points and weights of a 2-D quadrature."""
    u = torch.linspace(-half, half, n, dtype=torch.double)
    return torch.cartesian_prod(u, u), (u[1] - u[0]) ** 2


def log_joint(model, x, z):
    """log p(x, z), [B, S], written out term by term."""
    residual = x[:, None] - model.mean - z @ model.W.T
    log_x = -0.5 * (residual**2 / model.noise + (2 * math.pi * model.noise).log()).sum(-1)
    return log_x - 0.5 * (z**2).sum(-1) - math.log(2 * math.pi)


def test_evidence_and_posterior_are_those_of_quadrature(model):
    z, area = grid()
    joint = log_joint(model, X, z).exp() * area
    evidence = joint.sum(1)
    torch.testing.assert_close(model.log_evidence(X), evidence.log(), rtol=1e-8, atol=1e-8)
    p = joint / evidence[:, None]
    mean = p @ z
    second = torch.einsum("bs,sj,sk->bjk", p, z, z)
    posterior = model.posterior(X)
    torch.testing.assert_close(posterior.mean, mean, rtol=1e-7, atol=1e-7)
    covariance = second - mean[:, :, None] * mean[:, None]
    torch.testing.assert_close(posterior.covariance_matrix, covariance, rtol=1e-6, atol=1e-7)


def test_elbo_of_any_gaussian_is_that_of_quadrature(model):
    z, area = grid()
    mu = normal(4, 2, seed=3)
    S = torch.tensor([[0.5, 0.2], [0.2, 0.9]]).double()
    q = MultivariateNormal(mu[:, None], S)
    log_q = q.log_prob(z)
    expected = (log_q.exp() * (log_joint(model, X, z) - log_q)).sum(1) * area
    torch.testing.assert_close(model.elbo(X, mu, S), expected, rtol=1e-8, atol=1e-8)
    batched = S.expand(4, 2, 2)
    torch.testing.assert_close(model.elbo(X, mu, batched), model.elbo(X, mu, S))


def test_the_gap_is_the_kl_to_the_posterior(model):
    mu, S = normal(4, 2, seed=3), torch.diag(torch.tensor([0.3, 2.0]).double())
    gap = model.log_evidence(X) - model.elbo(X, mu, S)
    kl = kl_divergence(MultivariateNormal(mu, S), model.posterior(X))
    torch.testing.assert_close(gap, kl)
    posterior = model.posterior(X)
    at_best = model.elbo(X, posterior.mean, posterior.covariance_matrix)
    torch.testing.assert_close(at_best, model.best_elbo(X))
    torch.testing.assert_close(model.best_elbo(X, "full"), model.log_evidence(X))


def test_the_best_diagonal_q_is_a_maximum_and_too_narrow(model):
    mu, variance = model.best_diagonal(X)
    best = model.elbo(X, mu, torch.diag(variance))
    torch.testing.assert_close(best, model.best_elbo(X, "diagonal"))
    assert (model.log_evidence(X) - best > 1e-3).all()
    for j in range(2):
        for step in (-1e-2, 1e-2):
            shift = torch.zeros(2).double()
            shift[j] = step
            assert (model.elbo(X, mu + shift, torch.diag(variance)) < best).all()
            assert (model.elbo(X, mu, torch.diag(variance + shift)) < best).all()
    true_variance = torch.diagonal(model.posterior(X).covariance_matrix[0])
    assert (variance < true_variance).all()
    with pytest.raises(ValueError, match="family must be 'full' or 'diagonal', not 'mean field'"):
        model.best_elbo(X, "mean field")


def sample(n=4000):
    truth = LinearGaussian(
        normal(5, 2, seed=4), normal(5, seed=5), torch.linspace(0.2, 1.0, 5).double()
    )
    eps = normal(n, 5, seed=7)
    return normal(n, 2, seed=6) @ truth.W.T + truth.mean + truth.noise.sqrt() * eps


def start(x):
    ones = torch.ones(x.shape[1]).double()
    return LinearGaussian(normal(x.shape[1], 2, seed=8), x.mean(0), ones)


def test_ppca_is_scikit_learns_and_no_neighbor_is_better():
    x = sample()
    model = LinearGaussian.ppca(x, 2)
    pca = PCA(n_components=2).fit(x.numpy())
    # scikit-learn divides the covariance by N − 1
    scale = (len(x) - 1) / len(x)
    theirs = torch.from_numpy(pca.get_covariance()) * scale
    torch.testing.assert_close(model.covariance, theirs, rtol=1e-8, atol=1e-8)
    best = model.log_evidence(x).mean()
    for factor in (0.99, 1.01):
        assert (
            LinearGaussian(model.W * factor, model.mean, model.noise).log_evidence(x).mean() < best
        )
        assert (
            LinearGaussian(model.W, model.mean, model.noise * factor).log_evidence(x).mean() < best
        )
    with pytest.raises(ValueError, match="from 1 to D − 1 = 4, not 5"):
        LinearGaussian.ppca(x, 5)


def climb(model, x, steps, **options):
    values = [model.log_evidence(x).mean().item()]
    for _ in range(steps):
        model = model.em_step(x, **options)
        values.append(model.log_evidence(x).mean().item())
    return model, values


def test_isotropic_em_climbs_to_the_closed_form():
    x = sample()
    model, values = climb(start(x), x, 300, isotropic=True)
    assert all(b >= a - 1e-12 for a, b in pairwise(values))
    closed = LinearGaussian.ppca(x, 2)
    assert values[-1] == pytest.approx(closed.log_evidence(x).mean().item(), abs=1e-7)
    torch.testing.assert_close(model.covariance, closed.covariance, rtol=1e-3, atol=1e-3)
    assert (model.noise == model.noise[0]).all()


def test_factor_analysis_by_em_climbs_to_scikit_learns():
    x = sample()
    model, values = climb(start(x), x, 500)
    assert all(b >= a - 1e-12 for a, b in pairwise(values))
    theirs = FactorAnalysis(2, tol=1e-10, max_iter=5000, svd_method="lapack").fit(x.numpy())
    assert values[-1] == pytest.approx(theirs.score(x.numpy()), abs=1e-5)
    noise = torch.from_numpy(theirs.noise_variance_)
    torch.testing.assert_close(model.noise, noise, rtol=2e-2, atol=1e-3)
    torch.testing.assert_close(model.mean, x.mean(0))


def test_one_em_step_maximizes_the_expected_log_joint():
    """The M step: no neighbor of its W or noise has a larger ELBO at the old posterior."""
    x = sample(200)
    old = LinearGaussian(start(x).W, x.mean(0), start(x).noise)
    posterior = old.posterior(x)

    def elbo(model):
        return model.elbo(x, posterior.mean, posterior.covariance_matrix).mean()

    new = old.em_step(x)
    best = elbo(new)
    assert best > elbo(old)
    for d in range(5):
        for step in (-1e-3, 1e-3):
            W, noise = new.W.clone(), new.noise.clone()
            W[d, d % 2] += step
            noise[d] += step
            assert elbo(LinearGaussian(W, new.mean, new.noise)) < best
            assert elbo(LinearGaussian(new.W, new.mean, noise)) < best


@pytest.mark.parametrize(
    ("W", "mean", "noise", "words"),
    [
        (torch.ones(3), torch.ones(3), torch.ones(3), r"W must have shape \[D, J\], .* \[3\]; "),
        (torch.ones(3, 0), torch.ones(3), torch.ones(3), r"W must have shape .* not \[3, 0\]; "),
        (torch.ones(3, 2), torch.ones(2), torch.ones(2), r"mean must .* \[D\], D = 3, .* \[2\]; "),
        (
            torch.ones(3, 2),
            torch.ones(3),
            torch.ones(1),
            r"noise must .* \[D\], D = 3, .* \[1\]; ",
        ),
        (torch.ones(3, 2), torch.ones(3), torch.zeros(3), "positive variances.* smallest is 0; "),
        (torch.ones(3, 2), torch.full((3,), math.nan), torch.ones(3), "mean holds NaN or inf"),
        (torch.ones(3, 2).long(), torch.ones(3), torch.ones(3), "W must be torch.float32 or .*"),
        (torch.ones(3, 2).half(), torch.ones(3), torch.ones(3), "W must be .* torch.float16 on"),
        (torch.ones(3, 2), torch.ones(3).double(), torch.ones(3), "mean must be torch.float32 on"),
        ([[1.0]], torch.ones(1), torch.ones(1), "W must be a torch.Tensor, not list; "),
    ],
)
def test_linear_gaussian_refuses_what_does_not_fit(W, mean, noise, words):
    with pytest.raises((TypeError, ValueError), match=f"^{words}|noise must hold {words}"):
        LinearGaussian(W, mean, noise)


@pytest.fixture
def mixture():
    weights = torch.tensor([0.2, 0.5, 0.3], dtype=torch.double)
    A = normal(3, 2, 2, seed=9)
    covariances = A @ A.mT + 0.3 * torch.eye(2).double()
    return GaussianMixture(weights, 2 * normal(3, 2, seed=10), covariances)


POINTS = 2 * normal(50, 2, seed=11)


def test_mixture_evidence_is_torchs(mixture):
    torchs = MixtureSameFamily(
        Categorical(mixture.weights), MultivariateNormal(mixture.means, mixture.covariances)
    )
    torch.testing.assert_close(mixture.log_evidence(POINTS), torchs.log_prob(POINTS))


def test_responsibilities_are_bayes_rule(mixture):
    joint = mixture.log_joint(POINTS).exp()
    bayes = joint / joint.sum(1, keepdim=True)
    torch.testing.assert_close(mixture.responsibilities(POINTS), bayes)


def test_mixture_elbo_is_tight_at_the_responsibilities_only(mixture):
    r = mixture.responsibilities(POINTS)
    torch.testing.assert_close(mixture.elbo(POINTS, r), mixture.log_evidence(POINTS))
    q = torch.softmax(normal(50, 3, seed=12), -1)
    kl = (q * (q / r).log()).sum(-1)
    torch.testing.assert_close(mixture.log_evidence(POINTS) - mixture.elbo(POINTS, q), kl)
    hard = torch.eye(3).double()[r.argmax(1)]
    assert (mixture.elbo(POINTS, hard) <= mixture.log_evidence(POINTS)).all()


def test_mixture_em_climbs_and_is_scikit_learns(mixture):
    theirs = SklearnMixture(
        3,
        max_iter=1,
        tol=0,
        reg_covar=0,
        weights_init=mixture.weights.numpy(),
        means_init=mixture.means.numpy(),
        precisions_init=torch.linalg.inv(mixture.covariances).numpy(),
    )
    x = torch.cat([POINTS, POINTS + 0.3])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # one step is meant not to converge
        theirs.fit(x.numpy())
    ours = mixture.em_step(x)
    torch.testing.assert_close(ours.means, torch.from_numpy(theirs.means_))
    torch.testing.assert_close(ours.covariances, torch.from_numpy(theirs.covariances_))
    torch.testing.assert_close(ours.weights, torch.from_numpy(theirs.weights_))
    value = mixture.log_evidence(x).mean()
    for _ in range(5):
        mixture = mixture.em_step(x)
        value, before = mixture.log_evidence(x).mean(), value
        assert value >= before


def test_mixture_refuses_what_does_not_fit(mixture):
    w, m, c = mixture.weights, mixture.means, mixture.covariances
    for bad, words in [
        ((w[:2], m, c), r"weights must have shape \[K\], K = 3, .* not \[2\]; "),
        (
            (w, m[:, :1], c),
            r"covariances must have shape \[K, D, D\], K = 3, D = 1, .*\[3, 2, 2\]; ",
        ),
        ((w, m[0], c), r"means must have shape \[K, D\], .* not \[2\]; "),
        ((w, m, c[:2]), r"covariances must have shape .* not \[2, 2, 2\]; "),
        ((w, m, c - 3 * torch.eye(2)), r"symmetric and positive definite.* an eigenvalue of -"),
        ((w, m, c + torch.ones(2, 2).triu(1)), "from its transpose by 1 and has an eigenvalue of"),
        ((w, m / 0, c), "means holds NaN or infinite values; "),
        ((w.float(), m, c), "weights must be torch.float64 on cpu, not torch.float32 on cpu; "),
    ]:
        with pytest.raises((TypeError, ValueError), match=words):
            GaussianMixture(*bad)
    for weights in (w * 2, torch.tensor([1.2, -0.4, 0.2]).double()):
        with pytest.raises(ValueError, match="positive with sum 1"):
            GaussianMixture(weights, m, c)


def test_ppca_in_one_dimension_with_little_variance():
    x = 0.05 * sample(500)
    model = LinearGaussian.ppca(x, 1)
    assert model.W.shape == (5, 1)
    pca = PCA(n_components=1).fit(x.numpy())
    theirs = torch.from_numpy(pca.get_covariance()) * (len(x) - 1) / len(x)
    torch.testing.assert_close(model.covariance, theirs, rtol=1e-8, atol=1e-10)


def test_a_component_without_weight_is_refused(mixture):
    weights = torch.tensor([0.5, 0.5, 0.0], dtype=torch.double)
    with pytest.raises(ValueError, match=r"^weights must be positive"):
        GaussianMixture(weights, mixture.means, mixture.covariances)


BAD_DATA = [
    (X[:, :2], ValueError, r"^x must have shape \[B, D\], D = 3, .* not \[4, 2\]; reshape it"),
    (
        X[:, :1],
        ValueError,
        r"^x must have shape \[B, D\], D = 3, .* not \[4, 1\]; ",
    ),  # no broadcast
    (X[0], ValueError, r"^x must have shape \[B, D\], D = 3, .* not \[3\]; "),
    (X[None], ValueError, r"^x must have shape \[B, D\], D = 3, .* not \[1, 4, 3\]; "),
    (X[:0], ValueError, r"^x must have shape .*none of them 0, not \[0, 3\]; "),
    (X / 0, ValueError, "^x holds NaN or infinite values; remove or repair them"),
    (X.long(), TypeError, "^x must be torch.float64 on cpu, not torch.int64 on cpu; convert it"),
    (X.float(), TypeError, "^x must be torch.float64 on cpu, not torch.float32 on cpu; "),
    (X.tolist(), TypeError, "^x must be a torch.Tensor, not list; torch.as_tensor makes one"),
]


@pytest.mark.parametrize(("x", "error", "words"), BAD_DATA)
def test_every_method_refuses_data_of_another_form(model, x, error, words):
    q_mu, S = torch.zeros(4, 2).double(), torch.eye(2).double()
    for method in ("log_evidence", "posterior", "best_diagonal", "best_elbo", "em_step"):
        with pytest.raises(error, match=words):
            getattr(model, method)(x)
    with pytest.raises(error, match=words):
        model.elbo(x, q_mu, S)
    three = GaussianMixture(
        double([0.4, 0.6]), normal(2, 3), torch.eye(3).double().expand(2, 3, 3)
    )
    for method in ("log_joint", "log_evidence", "responsibilities", "em_step"):
        with pytest.raises(error, match=words):
            getattr(three, method)(x)
    with pytest.raises(error, match=words):
        three.elbo(x, torch.full((4, 2), 0.5).double())


@pytest.mark.parametrize(
    ("q_mu", "S", "words"),
    [
        (
            double([0.0, 0.0]),
            torch.eye(2).double(),
            r"^q_mu must have shape \[B, J\], B = 4, J = 2, ",
        ),
        (normal(1, 2), torch.eye(2).double(), r"^q_mu must have shape .* not \[1, 2\]; "),
        (normal(4, 1), torch.eye(2).double(), r"^q_mu must have shape .* not \[4, 1\]; "),
        (normal(4, 2).float(), torch.eye(2).double(), "^q_mu must be torch.float64 on cpu, not "),
        (normal(4, 2), torch.eye(2), "^q_covariance must be torch.float64 on cpu, not "),
        (
            normal(4, 2),
            torch.ones(4, 2).double(),
            r"^q_covariance must have shape \[J, J\], J = 2, ",
        ),
        (
            normal(4, 2),
            torch.eye(2).double()[None],
            r"^q_covariance must have shape \[B, J, J\], ",
        ),
        (normal(4, 2), double([1.0, 1.0]), r"^q_covariance must have shape .* not \[2\]; "),
        (normal(4, 2), double([[1, 2], [2, 1]]), "an eigenvalue of -1; take the mean of the two"),
        (normal(4, 2), double([[1, 0.5], [0, 1]]), "differs from its transpose by 0.5 and"),
        (normal(4, 2), double([[1, 0], [0, 0]]), "^q_covariance must be symmetric and positive"),
        (normal(4, 2), double([[math.inf, 0], [0, 1]]), "^q_covariance holds NaN or infinite"),
    ],
)
def test_the_elbo_refuses_what_is_no_gaussian(model, q_mu, S, words):
    with pytest.raises((TypeError, ValueError), match=words):
        model.elbo(X, q_mu, S)


@pytest.mark.parametrize(
    ("q", "words"),
    [
        ([[0.0, 0.0, 0.0]] * 4, "^q must be at least 0 with sum 1, .* go from 0 to 0; divide by"),
        ([[0.9, 0.3, -0.2]] * 4, "^q must be at least 0 with sum 1, but its smallest is -0.2 and"),
        (
            [[0.5, 0.5, 0.0]] * 3 + [[0.5, 0.6, 0.0]],
            "its sums go from 1 to 1.1; divide by the sum",
        ),
        ([[0.2, 0.3, 0.5]], r"^q must have shape \[B, K\], B = 4, K = 3, .* not \[1, 3\]; "),
        ([0.2, 0.3, 0.5], r"^q must have shape \[B, K\], B = 4, K = 3, .* not \[3\]; "),
        ([[1.0]] * 4, r"^q must have shape \[B, K\], B = 4, K = 3, .* not \[4, 1\]; "),
        ([[math.nan, 0.5, 0.5]] * 4, "^q holds NaN or infinite values; "),
    ],
)
def test_the_mixtures_elbo_refuses_what_is_no_distribution(mixture, q, words):
    with pytest.raises(ValueError, match=words):
        mixture.elbo(X[:, :2], double(q))


def test_the_mixtures_elbo_takes_a_q_that_leaves_components_out(mixture):
    x = X[:, :2]
    one = double([[0.0, 1.0, 0.0]]).expand(4, 3)
    torch.testing.assert_close(mixture.elbo(x, one), mixture.log_joint(x)[:, 1])


@pytest.mark.parametrize("latent_dim", [0, 3, -1, 1.0, True, "1", None])
def test_ppca_refuses_what_is_no_number_of_dimensions(latent_dim):
    with pytest.raises(ValueError, match="^latent_dim must be a whole number from 1 to D − 1 = 2"):
        LinearGaussian.ppca(X, latent_dim)


@pytest.mark.parametrize("x", [X[:1], X[:1].expand(5, 3), X[:2], X[:, :1] * torch.ones(3)])
def test_ppca_refuses_data_that_leave_no_noise(x):
    with pytest.raises(
        ValueError, match=f"^x varies in no more than .* more than {len(x)} examples"
    ):
        LinearGaussian.ppca(x, 1)


def test_a_component_that_collapses_is_refused_where_it_does(mixture):
    x = torch.cat([X[:, :2], torch.full((1, 2), 1000.0).double()])
    with pytest.raises(ValueError, match="^covariances must be symmetric and positive definite"):
        for _ in range(20):
            mixture = mixture.em_step(x)
