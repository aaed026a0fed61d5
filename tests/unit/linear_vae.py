"""The VAE whose every answer is known, for all tests that need one: the decoder of an
exact.LinearGaussian, and an encoder that is linear too. Double precision, all of it trainable."""

import math

import torch
from torch import nn

from vae_tutorial.distributions import DiagonalNormal, FullNormal
from vae_tutorial.exact import LinearGaussian
from vae_tutorial.families import DiagonalGaussian, FullGaussian
from vae_tutorial.model import VAE


def double(values):
    return torch.as_tensor(values, dtype=torch.double)


# orthogonal columns: the posterior is diagonal
DIAGONAL = LinearGaussian(
    W=double([[2.0, 0.0], [0.0, 0.5], [0.0, 0.0]]), mean=double([0] * 3), noise=double([0.3] * 3)
)
# a posterior with correlation, which no diagonal q can match
CORRELATED = LinearGaussian(
    W=double([[1.5, 0.8], [0.3, -1.0], [0.9, 0.4]]),
    mean=double([0.2, -0.1, 0.0]),
    noise=double([0.5, 0.3, 0.8]),
)
# one latent dimension: integrals over it, and over pairs of samples, are sums
ONE = LinearGaussian(W=double([[1.1], [-0.6]]), mean=double([0.2, -0.1]), noise=double([0.5, 0.8]))
X = double([[1.0, -0.5, 0.2], [3.0, 1.0, -1.0]])


class LinearDecoder(nn.Module):
    """The mean W z + mean and the log-variance of p(x|z), side by side, from an exact model's."""

    def __init__(self, exact):
        super().__init__()
        self.W, self.mean = nn.Parameter(exact.W.clone()), nn.Parameter(exact.mean.clone())
        self.log_noise = nn.Parameter(exact.noise.log())

    def forward(self, z):
        mu = z @ self.W.T + self.mean
        return torch.cat([mu, self.log_noise.expand_as(mu)], -1)

    @property
    def exact(self):
        """The exact model of these parameters, for exact gradients."""
        return LinearGaussian(self.W, self.mean, self.log_noise.exp())


class LinearEncoder(nn.Module):
    """q(z|x) = N(A x + a, diag(exp(C x + c))); with ``C=None`` one covariance for all x."""

    def __init__(self, A, a, c, C=None):
        super().__init__()
        self.A, self.a, self.c = (nn.Parameter(double(v)) for v in (A, a, c))
        self.C = None if C is None else nn.Parameter(double(C))

    def forward(self, x):
        mu = x @ self.A.T + self.a
        log_var = self.c.expand_as(mu)
        return torch.cat([mu, log_var if self.C is None else log_var + x @ self.C.T], -1)


class FullLinearEncoder(nn.Module):
    """q(z|x) = N(A x + a, L Lᵀ), whose parameters are the entries of L on and below its diagonal,
    row by row."""

    def __init__(self, A, a, L):
        super().__init__()
        self.A, self.a = (nn.Parameter(double(v)) for v in (A, a))
        self.entries = torch.tril_indices(len(L), len(L)).unbind()
        self.lower = nn.Parameter(L[self.entries].clone())

    def forward(self, x):
        mu = x @ self.A.T + self.a
        on = self.entries[0] == self.entries[1]
        log_var, below = 2 * self.lower[on].log(), self.lower[~on]
        return torch.cat([mu, log_var.expand_as(mu), below.expand(len(mu), -1)], -1)


def best_encoder(exact, posterior="diagonal", shift=0.0, scale=1.0):
    """The encoder with the largest ELBO (``"full"``: it is the posterior), then shifted, with its
    standard deviations times ``scale``."""
    unit = exact.posterior(torch.cat([exact.mean[None], exact.mean + torch.eye(len(exact.mean))]))
    A = unit.mean[1:].T  # the posterior's mean is A (x − mean)
    a = shift - A @ exact.mean
    if posterior == "full":
        return FullLinearEncoder(A, a, unit.scale_tril[0] * scale)
    return LinearEncoder(A, a, (exact.best_diagonal(X[:, : len(A.T)])[1] * scale**2).log())


def gaussian(parameters):
    """The likelihood of a LinearDecoder."""
    return DiagonalNormal(*parameters.chunk(2, -1))


def linear_vae(exact, posterior="diagonal", *, encoder=None, prior=None, shift=0.0, scale=1.0):
    if encoder is None:
        encoder = best_encoder(exact, posterior, shift, scale)
    family = FullGaussian() if isinstance(encoder, FullLinearEncoder) else DiagonalGaussian()
    return VAE(
        encoder, LinearDecoder(exact), exact.W.shape[1],
        posterior=family, likelihood=gaussian, prior=prior, device="cpu",
    ).double()  # fmt: skip


def exact_elbo(exact, q, x):
    """The ELBO [B] of the encoder's distribution q, in closed form."""
    full = isinstance(q, FullNormal)
    return exact.elbo(x, q.mu, q.covariance_matrix if full else torch.diag_embed(q.variance))


@torch.no_grad()
def many(estimator, vae, n, **arguments):
    """Mean and standard error [B] of n independent estimates of each example of X."""
    repeated = X.repeat_interleave(n, 0)
    values = estimator(vae, repeated, rng=1, **arguments).reshape(len(X), n)
    return values.mean(1), values.std(1) / math.sqrt(n), values
