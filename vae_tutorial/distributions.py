"""Distributions that remember the parameters that made them.

Each is a ``torch.distributions`` object with one event dimension, [J] for codes z and [D] for data
x, so that ``log_prob`` gives one value per example.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.distributions import (
    Bernoulli,
    Distribution,
    Independent,
    MultivariateNormal,
    OneHotCategorical,
    kl_divergence,
    register_kl,
)
from torch.nn.functional import binary_cross_entropy_with_logits, softplus
from torch.types import _size

from vae_tutorial.randomness import standard_normal

__all__ = [
    "BernoulliLogits",
    "DiagonalNormal",
    "FullNormal",
    "OneHotSequence",
    "StandardNormal",
    "draw",
]

LOG_2PI = math.log(2 * math.pi)


class DiagonalNormal(Distribution):
    """N(mu, diag(exp(log_var))): a normal distribution over the last dimension, which remembers
    its parameters ``mu`` and ``log_var``, each [..., J]."""

    arg_constraints = {}  # noqa: RUF012 - as in torch
    has_rsample = True

    def __init__(self, mu: Tensor, log_var: Tensor) -> None:
        self.mu, self.log_var, self.sigma = mu, log_var, torch.exp(0.5 * log_var)
        shape = self.sigma.shape if mu.shape == log_var.shape else (mu + log_var).shape
        super().__init__(shape[:-1], shape[-1:], validate_args=False)

    @property
    def mean(self) -> Tensor:
        """mu, [..., J]."""
        return self.mu

    @property
    def variance(self) -> Tensor:
        """exp(log_var), [..., J]."""
        return self.log_var.exp()

    def log_prob(self, value: Tensor) -> Tensor:
        """log N(value; mu, diag(exp(log_var))), for value of shape [..., J]."""
        eps = (value - self.mu) / self.sigma
        return -0.5 * (eps * eps + self.log_var + LOG_2PI).sum(-1)

    def from_noise(self, eps: Tensor) -> Tensor:
        """z = mu + sigma · eps: distributed as this distribution for eps ~ N(0, I)."""
        return self.mu + self.sigma * eps

    def rsample(self, sample_shape: _size = torch.Size()) -> Tensor:  # noqa: B008 - as in torch
        """Samples through which a gradient passes, from torch's global generator."""
        return self.from_noise(
            torch.randn_like(self.mu.expand(self._extended_shape(sample_shape)))
        )

    def entropy(self) -> Tensor:
        """½ Σ_j (1 + log 2π + log_var_j), [...]."""
        return 0.5 * (1 + LOG_2PI + self.log_var).expand(self._extended_shape()).sum(-1)

    def expand(self, batch_shape: _size, _instance: object = None) -> DiagonalNormal:
        """The same distribution with the batch shape repeated to ``batch_shape``."""
        shape = (*batch_shape, *self.event_shape)
        return DiagonalNormal(self.mu.expand(shape), self.log_var.expand(shape))

    def detached(self) -> DiagonalNormal:
        """The same distribution, with parameters that no gradient reaches."""
        return DiagonalNormal(self.mu.detach(), self.log_var.detach())


class StandardNormal(DiagonalNormal):
    """N(0, I) over J dimensions: the prior of a VAE that has no other.

    Args:
        zero: J zeros, which say the type of numbers and the device.
    """

    def __init__(self, zero: Tensor) -> None:
        super().__init__(zero, zero)

    def log_prob(self, value: Tensor) -> Tensor:
        """−½ Σ_j (value_j² + log 2π), for value of shape [..., J]."""
        return -0.5 * (value * value + LOG_2PI).sum(-1)


class FullNormal(MultivariateNormal):
    """N(mu, L Lᵀ), with mu [..., J] and the lower-triangular ``scale_tril`` L [..., J, J]."""

    def __init__(self, mu: Tensor, scale_tril: Tensor) -> None:
        super().__init__(mu, scale_tril=scale_tril, validate_args=False)
        self.mu = mu

    def from_noise(self, eps: Tensor) -> Tensor:
        """z = mu + L eps: distributed as this distribution for eps ~ N(0, I)."""
        return self.mu + (self.scale_tril @ eps.unsqueeze(-1)).squeeze(-1)

    def expand(self, batch_shape: _size, _instance: object = None) -> FullNormal:
        """The same distribution with the batch shape repeated to ``batch_shape``."""
        shape = (*batch_shape, *self.event_shape)
        return FullNormal(self.mu.expand(shape), self.scale_tril.expand(*shape, shape[-1]))

    def detached(self) -> FullNormal:
        """The same distribution, with parameters that no gradient reaches."""
        return FullNormal(self.mu.detach(), self.scale_tril.detach())


class BernoulliLogits(Independent):  # type: ignore[type-arg]
    """prod_d Bernoulli(x_d; sigmoid(logits_d)): binary values over the last dimension, with the
    ``logits`` [..., D] of their being 1."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__(Bernoulli(logits=logits, validate_args=False), 1, validate_args=False)
        self.logits = logits

    def expand(self, batch_shape: _size, _instance: object = None) -> BernoulliLogits:
        """The same distribution with the batch shape repeated to ``batch_shape``."""
        return BernoulliLogits(self.logits.expand(*batch_shape, *self.event_shape))

    def log_prob(self, value: Tensor) -> Tensor:
        """log p(x) = Σ_d x_d logits_d − log(1 + exp(logits_d)), for x [..., D]."""
        logits, x = torch.broadcast_tensors(self.logits, value)
        return -binary_cross_entropy_with_logits(logits, x, reduction="none").sum(-1)

    def log_prob_without_gradient(self, value: Tensor) -> Tensor:
        """:meth:`log_prob` several times faster on a CPU, for scoring many codes: it rounds by
        about 1e-7 · Σ_d |logits_d|, and no gradient passes."""
        logits, x = self.logits.detach(), value
        if logits.numel() > 8 * x.numel():  # many codes for one x: a matrix times a vector
            linear = torch.einsum("...d,...d->...", logits, x)
        else:
            linear = (logits * x).sum(-1)
        return linear - _sum_softplus(logits)


def _sum_softplus(logits: Tensor) -> Tensor:
    """Σ_d log(1 + exp(l_d)), without gradient: the logarithm of a product of eight factors in
    place of eight logarithms, which cost most of the time. Every factor is at least 1, so that a
    product is right to rounding unless it overflows; such rows are summed term by term."""
    half = logits.shape[-1] // 2
    a, b = torch.exp(logits).tensor_split([logits.shape[-1] - half], -1)
    product = a.add_(1)
    product[..., :half].addcmul_(product[..., :half], b)  # (1 + a) (1 + b)
    for _ in range(2):
        half = product.shape[-1] // 2
        product, other = product.tensor_split([product.shape[-1] - half], -1)
        product[..., :half] *= other
    total = product.log().sum(-1)
    overflow = ~torch.isfinite(total)
    if bool(overflow.any()):
        total[overflow] = softplus(logits[overflow], threshold=40).sum(-1)
    return total


class OneHotSequence(Distribution):
    """One letter at each of L positions, independently: a sequence is a one-hot row of D = L · A.

    Args:
        logits: [..., L, A], unnormalized log-probabilities of the A letters at each position.
    """

    arg_constraints = {}  # noqa: RUF012 - as in torch

    def __init__(self, logits: Tensor) -> None:
        self.letters = OneHotCategorical(logits=logits, validate_args=False)
        event = torch.Size([logits.shape[-2] * logits.shape[-1]])
        super().__init__(logits.shape[:-2], event, validate_args=False)

    @property
    def logits(self) -> Tensor:
        """log-probabilities of the letters, normalized, [..., L, A]."""
        normalized: Tensor = self.letters.logits
        return normalized

    @property
    def mean(self) -> Tensor:
        """The probability of each letter at each position, [..., D]."""
        return self.letters.mean.flatten(-2)

    def expand(self, batch_shape: _size, _instance: object = None) -> OneHotSequence:
        """The same distribution with the batch shape repeated to ``batch_shape``."""
        return OneHotSequence(self.logits.expand(*batch_shape, *self.logits.shape[-2:]))

    def sample(self, sample_shape: _size = ()) -> Tensor:
        """One-hot sequences, [*sample_shape, ..., D]."""
        drawn: Tensor = self.letters.sample(torch.Size(sample_shape))
        return drawn.flatten(-2)

    def log_prob(self, value: Tensor) -> Tensor:
        """log p(x), for one-hot rows x of shape [..., D], summed over positions."""
        return (value.unflatten(-1, self.logits.shape[-2:]) * self.logits).sum((-2, -1))


def draw(p: Distribution, shape: tuple[int, ...], rng: torch.Generator) -> Tensor:
    """Samples of any distribution, [*shape, *batch, *event], from a generator; no gradient.

    The package's own normals transform its noise, so that they are the same on every device.
    torch's ``sample`` takes no generator: there the global generators are seeded from rng for the
    draw, and then put back.
    """
    with torch.no_grad():
        if isinstance(p, DiagonalNormal | FullNormal):
            return p.from_noise(standard_normal((*shape, *p.mu.shape), rng, like=p.mu))
        seed = int(torch.randint(2**63 - 1, (), generator=rng, device=rng.device))
        with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
            torch.manual_seed(seed)
            return p.sample(torch.Size(shape))


@register_kl(FullNormal, DiagonalNormal)
def _kl_full_diagonal(q: FullNormal, p: DiagonalNormal) -> Tensor:
    scale = torch.diag_embed(p.sigma).expand(*q.batch_shape, -1, -1)
    return kl_divergence(q, MultivariateNormal(p.mu, scale_tril=scale, validate_args=False))
