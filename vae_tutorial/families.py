"""Families: a network's output in, a distribution out.

A posterior family makes q(z|x) of parameters [B, P]; a likelihood makes p(x|z) of parameters
[..., P] and says which data it can explain. The networks that compute the parameters know nothing
of this; ``VAE`` joins the two. A family and the distribution that it makes have different names:

    DiagonalGaussian -> DiagonalNormal          Bernoulli   -> BernoulliLogits
    FullGaussian     -> FullNormal              Categorical -> OneHotSequence
    LearnedGaussian  -> DiagonalNormal          Gaussian    -> DiagonalNormal

A likelihood of one's own is any function or module from parameters to a distribution with event
shape [D]; what it learns beside the decoder must be a parameter of a module.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from vae_tutorial.distributions import (
    BernoulliLogits,
    DiagonalNormal,
    FullNormal,
    OneHotSequence,
)
from vae_tutorial.support import inputs

__all__ = [
    "Bernoulli",
    "Categorical",
    "DiagonalGaussian",
    "FullGaussian",
    "Gaussian",
    "LearnedGaussian",
    "Posterior",
    "likelihood",
    "posterior",
]


class Posterior(Protocol):
    """The distribution q(z|x) for B examples: what a posterior of one's own has to have.

    ``VAE(…, posterior=f)`` takes any function or module f from parameters [B, P] to such an
    object. The noise is standard normal, [..., B, f.noise_dim], with J numbers for each z where f
    has no ``noise_dim``. With a property ``mean``, [B, J], there are also active units and
    reconstructions; ``f.units(parameters)`` says in which steps q is improved for a single x.
    """

    def from_noise(self, eps: Tensor) -> Tensor:
        """z [..., B, J], distributed as q(z|x) for eps ~ N(0, I), differentiable in q."""

    def log_prob(self, z: Tensor) -> Tensor:
        """log q(z|x), [..., B], for z [..., B, J]."""

    def detached(self) -> Posterior:
        """The same distribution, with parameters that no gradient reaches."""


class DiagonalGaussian(nn.Module):
    """q(z|x) = N(mu, diag(exp(log_var))), of parameters [B, 2J]: mu, then log_var.

    Source: Kingma & Welling (2014), appendix C.2, with x and z swapped.
    """

    def num_parameters(self, latent_dim: int) -> int:
        """P, how many numbers the encoder returns."""
        return 2 * latent_dim

    def forward(self, parameters: Tensor) -> DiagonalNormal:
        return DiagonalNormal(*parameters.chunk(2, dim=-1))

    def units(self, parameters: Tensor) -> Tensor:
        """In which unit each parameter is counted where q is improved by steps: mu in standard
        deviations, log_var in 2."""
        log_var = parameters.chunk(2, dim=-1)[1]
        return torch.cat([torch.exp(0.5 * log_var), torch.full_like(log_var, 2)], -1)


class FullGaussian(nn.Module):
    """q(z|x) = N(mu, L Lᵀ), of parameters [B, 2J + J(J − 1)/2]: mu, the logarithms of the squared
    diagonal of L, and what stands below the diagonal, row by row.

    Source: Kingma & Welling (2019), section 2.5.1.
    """

    def num_parameters(self, latent_dim: int) -> int:
        """P, how many numbers the encoder returns."""
        return latent_dim * (latent_dim + 3) // 2

    def forward(self, parameters: Tensor) -> FullNormal:
        mu, log_var, below = self._split(parameters)
        scale_tril = torch.diag_embed(torch.exp(0.5 * log_var))
        rows, columns = torch.tril_indices(mu.shape[-1], mu.shape[-1], offset=-1)
        scale_tril[..., rows, columns] = below
        return FullNormal(mu, scale_tril)

    def units(self, parameters: Tensor) -> Tensor:
        """As for :class:`DiagonalGaussian`; an entry of L below the diagonal is counted in units
        of its row's diagonal entry."""
        mu, log_var, _ = self._split(parameters)
        sigma = torch.exp(0.5 * log_var)
        rows = torch.tril_indices(mu.shape[-1], mu.shape[-1], offset=-1)[0]
        return torch.cat([sigma, torch.full_like(log_var, 2), sigma[..., rows]], -1)

    def _split(self, parameters: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        total = parameters.shape[-1]
        latent_dim = next(j for j in range(1, total + 1) if self.num_parameters(j) >= total)
        if self.num_parameters(latent_dim) != total:
            raise ValueError(
                f"the encoder must return J (J + 3) / 2 numbers for J latent dimensions, "
                f"such as {self.num_parameters(latent_dim)} for {latent_dim}, not {total}"
            )
        sizes = [latent_dim, latent_dim, total - 2 * latent_dim]
        mu, log_var, below = parameters.split(sizes, dim=-1)
        return mu, log_var, below


class Bernoulli(nn.Module):
    """p(x|z) = prod_d Bernoulli(x_d; sigmoid(logits_d)), of parameters [..., D]: the logits. For
    binary data, and only for them.

    Source: Kingma & Welling (2014), appendix C.1.
    """

    def num_parameters(self, data_dim: int) -> int:
        """P, how many numbers the decoder returns."""
        return data_dim

    def forward(self, parameters: Tensor) -> BernoulliLogits:
        return BernoulliLogits(parameters)

    def check_data(self, x: Tensor) -> None:
        """Refuses values other than 0 and 1: they have no probability under a Bernoulli."""
        grey = (x != 0) & (x != 1)
        if bool(grey.any()):
            raise ValueError(
                f"x has {int(grey.sum())} values that are neither 0 nor 1 (the first is "
                f"{x[grey][0].item():g}), and a Bernoulli likelihood is only for binary data; "
                f"binarize x with data.binarize, or use a Gaussian likelihood"
            )


class Gaussian(nn.Module):
    """p(x|z) = N(x; mu, diag(variance)), for real-valued data.

    The parameters are mu [..., D]; with ``variance="predicted"`` they are [..., 2D], mu and then a
    number u for each value and each z. ``"shared"`` learns one u for all, and ``"fixed"`` learns
    none. A learned variance is floor + exp(u): the likelihood has no upper bound where the data
    can be predicted exactly, and at the floor its gradient is small, but never zero.

    Args:
        variance: ``"predicted"``, ``"shared"`` or ``"fixed"``.
        initial: the variance of ``"fixed"``, the first one of ``"shared"``.
        floor: the smallest variance that can be learned.

    Raises:
        ValueError: an unknown kind, or an initial variance that the floor does not allow.

    Source: Kingma & Welling (2014), appendix C.2; Mattei & Frellsen (2018) on the missing bound.
    """

    log_floor: Tensor
    log_fixed: Tensor

    def __init__(
        self, variance: str = "predicted", initial: float = 0.05, floor: float = 1e-3
    ) -> None:
        super().__init__()
        self.variance = inputs.one_of("variance", variance, ("predicted", "shared", "fixed"))
        inputs.finite_number("floor", floor, above=0)
        lowest = floor if variance == "shared" else 0.0
        inputs.finite_number("the initial variance", initial, above=lowest)
        self.initial, self.floor = initial, floor
        self.register_buffer("log_floor", torch.tensor(floor).log(), persistent=False)
        if variance == "shared":
            self.u = nn.Parameter(torch.tensor(initial - floor).log())
        if variance == "fixed":
            self.register_buffer("log_fixed", torch.tensor(initial).log())

    def num_parameters(self, data_dim: int) -> int:
        """P, how many numbers the decoder returns."""
        return 2 * data_dim if self.variance == "predicted" else data_dim

    def extra_repr(self) -> str:
        return f"{self.variance!r}, initial={self.initial:g}, floor={self.floor:g}"

    def forward(self, parameters: Tensor) -> DiagonalNormal:
        if self.variance == "fixed":
            return DiagonalNormal(parameters, self.log_fixed.expand_as(parameters))
        if self.variance == "shared":
            log_var = torch.logaddexp(self.log_floor, self.u)
            return DiagonalNormal(parameters, log_var.expand_as(parameters))
        mu, u = parameters.chunk(2, dim=-1)
        return DiagonalNormal(mu, torch.logaddexp(self.log_floor, u))


class Categorical(nn.Module):
    """p(x|z) = prod_l Categorical(x_l; softmax(logits_l)): one of A letters at each of L
    positions. Data are one-hot rows of D = L · A values, the parameters [..., D] are the logits.

    Args:
        letters: A, at least 2.
    """

    def __init__(self, letters: int) -> None:
        super().__init__()
        self.letters = inputs.positive_int("letters", letters)

    def num_parameters(self, data_dim: int) -> int:
        """P, how many numbers the decoder returns."""
        return data_dim

    def forward(self, parameters: Tensor) -> OneHotSequence:
        return OneHotSequence(parameters.unflatten(-1, (-1, self.letters)))

    def extra_repr(self) -> str:
        return f"letters={self.letters}"

    def check_data(self, x: Tensor) -> None:
        """Refuses rows that do not have exactly one 1 among the letters of each position."""
        letters = x.unflatten(-1, (-1, self.letters))
        good = ((letters == 0) | (letters == 1)).all(-1) & (letters.sum(-1) == 1)
        if not bool(good.all()):
            row, position = (~good).nonzero()[0].tolist()
            raise ValueError(
                f"x[{row}] has no single 1 among the {self.letters} letters of position "
                f"{position}; encode sequences of letter numbers with "
                f"torch.nn.functional.one_hot(x, {self.letters}).flatten(1).float()"
            )


class LearnedGaussian(nn.Module):
    """A prior p(z) = N(mu, diag(exp(log_var))) with learned parameters, which start at N(0, I)."""

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.mu = nn.Parameter(torch.zeros(latent_dim))
        self.log_var = nn.Parameter(torch.zeros(latent_dim))

    def forward(self) -> Distribution:
        return DiagonalNormal(self.mu, self.log_var)


POSTERIORS: dict[str, type[DiagonalGaussian | FullGaussian]] = {
    "diagonal": DiagonalGaussian,
    "full": FullGaussian,
}
LIKELIHOODS = ("bernoulli", "gaussian", "gaussian_shared", "gaussian_fixed", "categorical")


def posterior(name: str) -> DiagonalGaussian | FullGaussian:
    """The posterior of that name."""
    return POSTERIORS[inputs.one_of("posterior", name, POSTERIORS)]()


def likelihood(
    name: str, data_dim: int, variance: float = 0.05, letters: int | None = None
) -> Bernoulli | Gaussian | Categorical:
    """The likelihood of that name, as :meth:`vae_tutorial.model.VAE.mlp` describes them."""
    inputs.one_of("likelihood", name, LIKELIHOODS)
    inputs.finite_number("variance", variance, above=0)
    if name == "bernoulli":
        return Bernoulli()
    if name == "categorical":
        if letters is None or letters < 2 or data_dim % letters:
            raise ValueError(
                f"letters must be a whole number of at least 2 that divides data_dim={data_dim} "
                f"(positions times letters), not {letters!r}"
            )
        return Categorical(letters)
    return Gaussian(name.removeprefix("gaussian").strip("_") or "predicted", variance)
