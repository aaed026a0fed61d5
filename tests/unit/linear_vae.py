"""A VAE whose every answer is known: the decoder of an exact.LinearGaussian, an encoder of one's
choice."""

import math

import torch
from torch import nn

from vae_tutorial.distributions import DiagonalNormal
from vae_tutorial.exact import LinearGaussian
from vae_tutorial.families import DiagonalGaussian, FullGaussian
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
    """The mean of p(x|z) of an exact model; nothing in it is trained."""

    def __init__(self, exact):
        super().__init__()
        self.exact = exact

    def forward(self, z):
        return z @ self.exact.W.T + self.exact.mean


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
            L = posterior.scale_tril * math.sqrt(self.scale)
            rows, columns = torch.tril_indices(*L.shape[-2:], offset=-1)
            log_var = 2 * torch.diagonal(L, dim1=-2, dim2=-1).log()
            return torch.cat([mu, log_var, L[..., rows, columns]], -1)
        variance = self.exact.best_diagonal(x)[1] * self.scale
        return torch.cat([mu, variance.log().expand_as(mu)], -1)


def linear_vae(exact, *, prior=None, **encoder):
    posterior = FullGaussian() if encoder.get("full") else DiagonalGaussian()
    return VAE(
        ExactEncoder(exact, **encoder),
        LinearDecoder(exact),
        exact.W.shape[1],
        posterior=posterior,
        likelihood=lambda mu: DiagonalNormal(mu, exact.noise.log().expand_as(mu)),
        prior=prior,
        device="cpu",
    )


def many(estimator, vae, n, **arguments):
    """Mean and standard error [B] of n independent estimates of each example of X."""
    repeated = X.repeat_interleave(n, 0)
    values = estimator(vae, repeated, rng=1, **arguments).reshape(len(X), n)
    return values.mean(1), values.std(1) / math.sqrt(n), values
