"""A VAE whose every answer is known: the decoder of an exact.LinearGaussian, an encoder of one's
choice."""

import math

import torch
from torch import nn

from vae_tutorial.distributions import DiagonalNormal, FullNormal
from vae_tutorial.exact import LinearGaussian
from vae_tutorial.model import VAE

# orthogonal columns: the posterior is diagonal
DIAGONAL = LinearGaussian(
    torch.tensor([[2.0, 0.0], [0.0, 0.5], [0.0, 0.0]]), torch.zeros(3), torch.full((3,), 0.3)
)
# a posterior with correlation, which no diagonal q can match
CORRELATED = LinearGaussian(
    torch.tensor([[1.0, 0.8], [0.2, 1.0], [0.6, -0.1]]),
    torch.tensor([0.5, 0.0, -0.2]),
    torch.tensor([0.4, 0.6, 0.5]),
)
X = torch.tensor([[1.0, -0.5, 0.2], [3.0, 1.0, -1.0]])


class LinearDecoder(nn.Module):
    """p(x|z) of an exact model; nothing in it is trained."""

    def __init__(self, exact):
        super().__init__()
        self.exact = exact

    def forward(self, z):
        mu = z @ self.exact.W.T + self.exact.mean
        return DiagonalNormal(mu, self.exact.noise.log().expand_as(mu))


class ExactEncoder(nn.Module):
    """q(z|x) = the posterior's mean plus a shift, with its covariance times a factor: full, or
    diagonal with the best variances."""

    def __init__(self, exact, shift=0.0, scale=1.0, full=False):
        super().__init__()
        self.exact, self.shift, self.scale, self.full = exact, shift, scale, full

    def forward(self, x):
        posterior = self.exact.posterior(x)
        mu = posterior.mean + self.shift
        if self.full:
            return FullNormal(mu, posterior.scale_tril * math.sqrt(self.scale))
        variance = self.exact.best_diagonal(x)[1] * self.scale
        return DiagonalNormal(mu, variance.log().expand_as(mu))


def linear_vae(exact, **encoder):
    return VAE(ExactEncoder(exact, **encoder), LinearDecoder(exact), exact.W.shape[1])


def many(estimator, vae, n, **arguments):
    """Mean and standard error [B] of n independent estimates of each example of X."""
    repeated = X.repeat_interleave(n, 0)
    values = estimator(vae, repeated, rng=1, **arguments).reshape(len(X), n)
    return values.mean(1), values.std(1) / math.sqrt(n), values
