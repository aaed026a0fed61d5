"""A posterior and a prior of one's own: they train by `fit`, are scored by `log_evidence`, and
agree with an exact answer."""

import math

import pytest
import torch
from linear_vae import CORRELATED, LinearDecoder, X, double, gaussian, linear_vae
from torch import nn
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from vae_tutorial import VAE, elbo, fit, gaussian_kl, gradients, iwae_bound, log_evidence
from vae_tutorial.distributions import DiagonalNormal
from vae_tutorial.evaluation import active_units, best_posterior, gap, mutual_information


class Sheared:
    """z = (u_1, u_2 + shear · u_1) for a Gaussian u: one step of an affine flow, with a shear for
    each x. Only what a posterior must have, and no more."""

    def __init__(self, u, shear):
        self.u, self.shear = u, shear

    def from_noise(self, eps):
        u = self.u.from_noise(eps)
        return torch.stack([u[..., 0], u[..., 1] + self.shear * u[..., 0]], -1)

    def log_prob(self, z):
        u = torch.stack([z[..., 0], z[..., 1] - self.shear * z[..., 0]], -1)
        return self.u.log_prob(u)  # the determinant of a shear is 1

    def detached(self):
        return Sheared(self.u.detached(), self.shear.detach())


def flow(parameters):
    mu, log_var, shear = parameters.split([2, 2, 1], dim=-1)
    return Sheared(DiagonalNormal(mu, log_var), shear[..., 0])


def with_a_flow():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        encoder = nn.Linear(3, 5).double()
    return VAE(
        encoder, LinearDecoder(CORRELATED).requires_grad_(False), 2,
        posterior=flow, likelihood=gaussian, device="cpu",
    ).double()  # fmt: skip


def data(n):
    rng = torch.Generator().manual_seed(1)
    z, noise = (torch.randn(n, k, generator=rng, dtype=torch.double) for k in (2, 3))
    return z @ CORRELATED.W.T + CORRELATED.mean + CORRELATED.noise.sqrt() * noise


def test_a_flow_reaches_the_correlated_posterior_that_a_diagonal_gaussian_cannot():
    """The posterior of the linear model is a sheared Gaussian: the ELBO becomes log p(x)."""
    vae, x = with_a_flow(), data(600)
    settings = {"batch_size": 200, "learning_rate": 0.03, "progress": False}
    fit(vae, x, epochs=150, **settings)
    truth = CORRELATED.log_evidence(x).mean()
    best_diagonal = CORRELATED.best_elbo(x, "diagonal").mean()
    with torch.no_grad():
        reached = elbo(vae, x, num_samples=200, rng=0).value.mean()
    assert truth - best_diagonal > 0.04
    assert abs(truth - reached) < 0.01
    found = log_evidence(vae, X, num_samples=2000, rng=0)
    assert ((found.value - CORRELATED.log_evidence(X)).abs() < 5 * found.standard_error).all()
    assert found.trusted.all()


def test_what_has_no_closed_form_is_sampled_for_a_flow_without_bias():
    """Its KL to the prior, and the gap: the encoder is untrained, and far from the posterior."""
    vae = with_a_flow()
    many = X.repeat_interleave(20_000, 0)
    with torch.no_grad():
        kl = elbo(vae, many, rng=0).kl.view(2, -1)
        q = vae.encode(X)
        S = double([[1.0, 0.0], [0.0, 1.0]]).expand(2, 2, 2).clone()
        S[:, 1, 0] = q.shear
        L = S @ torch.diag_embed(q.u.sigma)
        exact = torch.distributions.kl_divergence(
            torch.distributions.MultivariateNormal((S @ q.u.mu[..., None])[..., 0], L @ L.mT),
            torch.distributions.MultivariateNormal(double([0.0, 0.0]), torch.eye(2).double()),
        )
    error = kl.std(1) / math.sqrt(kl.shape[1])
    assert ((kl.mean(1) - exact).abs() < 5 * error).all()
    wrong = gaussian_kl(q.u.mu, q.u.log_var)  # of what is sheared
    assert ((kl.mean(1) - wrong).abs() > 20 * error).all()
    parts = gap(vae, X, num_samples=2000, steps=500, rng=0)
    assert (parts.approximation.abs() < 5 * parts.approximation_error + 2e-3).all()
    assert (parts.amortization > 1).all()
    assert isinstance(best_posterior(vae, X, steps=2), Sheared)


def test_every_estimator_takes_a_flow():
    vae = with_a_flow()
    assert gradients.pathwise(vae, X, rng=0).shape == (20,)
    bound = iwae_bound(vae, X, num_samples=500, rng=0)
    assert (bound <= CORRELATED.log_evidence(X) + 0.5).all()
    assert gradients.doubly_reparameterized(vae, X, num_samples=3, rng=0).abs().sum() > 0
    assert (mutual_information(vae, X, num_samples=50, rng=0) <= math.log(2) + 1e-9).all()
    with pytest.raises(TypeError, match="needs the mean of q.*give its distribution a property"):
        active_units(vae, X)


def test_a_posterior_of_another_shape_is_refused():
    def flat(parameters):
        q = DiagonalNormal(*parameters.split([2, 3], dim=-1)[:1] * 2)
        q.from_noise = lambda eps: eps[..., 0]
        return q

    vae = with_a_flow()
    vae.posterior = flat
    with pytest.raises(ValueError, match=r"must make z of shape \[1, 2, 2\] of noise .*\[1, 2\]"):
        elbo(vae, X)


class TwoPeaks(nn.Module):
    """A mixture of two Gaussians as a prior, with parameters."""

    def __init__(self):
        super().__init__()
        self.logits = nn.Parameter(double([0.4, -0.4]))
        self.means = nn.Parameter(double([[-1.5, 0.0], [1.0, 0.5]]))

    def forward(self):
        peaks = Independent(Normal(self.means, 0.7), 1)
        return MixtureSameFamily(Categorical(logits=self.logits), peaks)


def exact_with_two_peaks(prior, x):
    """p(x) = Σ_k w_k N(x; W m_k + mean, 0.49 W Wᵀ + diag(noise))."""
    W, noise = CORRELATED.W, torch.diag(CORRELATED.noise)
    covariance = 0.49 * W @ W.T + noise
    peaks = torch.distributions.MultivariateNormal(prior.means @ W.T + CORRELATED.mean, covariance)
    return torch.logsumexp(torch.log_softmax(prior.logits, 0) + peaks.log_prob(x[:, None]), 1)


def test_a_mixture_as_prior_is_scored_exactly_and_learns():
    vae = linear_vae(CORRELATED, "full", prior=TwoPeaks(), scale=1.3)
    found = log_evidence(vae, X, num_samples=20_000, rng=0)
    exact = exact_with_two_peaks(vae.prior_network, X).detach()
    assert ((found.value - exact).abs() < 5 * found.standard_error).all()
    assert ((found.value - CORRELATED.log_evidence(X)).abs() > 20 * found.standard_error).all()
    x = data(500)  # drawn with the prior N(0, I)
    before = exact_with_two_peaks(vae.prior_network, x).mean()
    vae.decoder.requires_grad_(False)
    fit(vae, x, epochs=60, batch_size=100, learning_rate=0.02, progress=False)
    after = exact_with_two_peaks(vae.prior_network, x).mean()
    assert after > before + 0.05 and after > CORRELATED.log_evidence(x).mean() - 0.2
    with torch.no_grad():
        bound = elbo(vae, x, num_samples=50, rng=0).value.mean()
    assert bound < after + 0.01


def test_a_pair_of_plain_sequentials_with_convolutions_is_a_vae():
    x = torch.zeros(400, 64)
    rng = torch.Generator().manual_seed(0)
    for row, start in zip(
        x.view(-1, 8, 8), torch.randint(5, (400, 2), generator=rng), strict=True
    ):
        row[start[0] : start[0] + 3, start[1] : start[1] + 3] = 1  # a square somewhere
    with torch.random.fork_rng():
        torch.manual_seed(0)
        encoder = nn.Sequential(
            nn.Unflatten(1, (1, 8, 8)), nn.Conv2d(1, 8, 3, stride=2, padding=1), nn.ReLU(),
            nn.Flatten(), nn.Linear(128, 4),
        )  # fmt: skip
        decoder = nn.Sequential(
            nn.Linear(2, 128), nn.ReLU(), nn.Unflatten(1, (8, 4, 4)),
            nn.ConvTranspose2d(8, 1, 4, stride=2, padding=1),
        )  # fmt: skip
    vae = VAE(encoder, decoder, latent_dim=2)
    history = fit(vae, x, epochs=40, learning_rate=0.01, progress=False)
    p = x.mean(0).clamp(1e-3, 1 - 1e-3)
    independent = (x * p.log() + (1 - x) * (1 - p).log()).sum(1).mean()
    assert history.elbo[-1] > independent + 5
