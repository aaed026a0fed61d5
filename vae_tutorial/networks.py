"""The networks of Kingma & Welling (2014), appendix C: an MLP body, then linear heads.

An encoder maps x [B, D] to q(z|x), a decoder maps z [..., J] to p(x|z), a prior takes nothing and
returns p(z). Each returns a distribution; what the model means is said in ``model``.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from vae_tutorial.distributions import (
    BernoulliLogits,
    DiagonalNormal,
    FullNormal,
    OneHotSequence,
    full_precision,
)

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "tanh": nn.Tanh,
    "relu": partial(nn.ReLU, inplace=True),  # nobody needs what comes before it
    "softplus": nn.Softplus,
}


def mlp(widths: Sequence[int], activation: str = "tanh") -> nn.Sequential:
    """Linear layers of the given widths, each followed by the activation."""
    act = ACTIVATIONS[activation]
    pairs = itertools.pairwise(widths)
    return nn.Sequential(*[m for n, k in pairs for m in (nn.Linear(n, k), act())])


class GaussianEncoder(nn.Module):
    """q(z|x) = N(mu(x), diag(exp(log_var(x)))), by an MLP with two linear heads.

    Source: Kingma & Welling (2014), appendix C.2, with x and z swapped.
    """

    def __init__(
        self, data_dim: int, hidden: Sequence[int], latent_dim: int, activation: str = "tanh"
    ) -> None:
        super().__init__()
        self.body = mlp([data_dim, *hidden], activation)
        self.mu = nn.Linear(hidden[-1], latent_dim)
        self.log_var = nn.Linear(hidden[-1], latent_dim)

    def forward(self, x: Tensor) -> DiagonalNormal:
        h = self.body(x)  # [B, H]
        return DiagonalNormal(self.mu(h), self.log_var(h))


class FullGaussianEncoder(GaussianEncoder):
    """q(z|x) = N(mu(x), L(x) L(x)ᵀ): a third head holds the part of L below its diagonal, which is
    exp(½ log_var(x)).

    Source: Kingma & Welling (2019), section 2.5.1.
    """

    def __init__(
        self, data_dim: int, hidden: Sequence[int], latent_dim: int, activation: str = "tanh"
    ) -> None:
        super().__init__(data_dim, hidden, latent_dim, activation)
        self.below = nn.Linear(hidden[-1], latent_dim * (latent_dim - 1) // 2)

    def forward(self, x: Tensor) -> FullNormal:  # type: ignore[override]
        h = self.body(x)
        scale_tril = torch.diag_embed(torch.exp(0.5 * self.log_var(h)))
        size = scale_tril.shape[-1]
        rows, columns = torch.tril_indices(size, size, offset=-1)
        scale_tril[..., rows, columns] = self.below(h)
        return FullNormal(self.mu(h), scale_tril)


class BernoulliDecoder(nn.Module):
    """p(x|z) = prod_d Bernoulli(x_d; sigmoid(logits_d(z))): for binary data, and only for it.

    Source: Kingma & Welling (2014), appendix C.1.
    """

    def __init__(
        self, latent_dim: int, hidden: Sequence[int], data_dim: int, activation: str = "tanh"
    ) -> None:
        super().__init__()
        self.body = mlp([latent_dim, *hidden], activation)
        self.logits = nn.Linear(hidden[-1], data_dim)

    def forward(self, z: Tensor) -> Distribution:
        return BernoulliLogits(self.logits(self.body(z)))  # [..., D]

    def check_data(self, x: Tensor) -> None:
        """Refuses values other than 0 and 1: they have no probability under a Bernoulli."""
        grey = (x != 0) & (x != 1)
        if bool(grey.any()):
            raise ValueError(
                f"x has {int(grey.sum())} values that are neither 0 nor 1 (the first is "
                f"{x[grey][0].item():g}), and a Bernoulli likelihood is only for binary data; "
                f"binarize x with data.binarize, or use a Gaussian decoder"
            )


class GaussianDecoder(nn.Module):
    """p(x|z) = N(x; mu(z), diag(exp(log_var))): for real-valued data.

    The log-variance is one fixed number (``variance="fixed"``), one learned number for all values
    (``"shared"``), or a second head of the network, one number for each value and each z
    (``"head"``). A learned variance is clamped from below, because the likelihood has no upper
    bound where a value is constant in the data.

    Source: Kingma & Welling (2014), appendix C.2.
    """

    min_log_var: Tensor
    fixed_log_var: Tensor

    def __init__(
        self,
        latent_dim: int,
        hidden: Sequence[int],
        data_dim: int,
        activation: str = "tanh",
        variance: str = "head",
        initial_variance: float = 0.05,
        min_variance: float = 1e-3,
    ) -> None:
        super().__init__()
        self.body = mlp([latent_dim, *hidden], activation)
        self.mu = nn.Linear(hidden[-1], data_dim)
        self.variance = variance
        initial = torch.tensor(initial_variance).log()
        if variance == "head":
            self.log_var = nn.Linear(hidden[-1], data_dim)
        elif variance == "shared":
            self.shared_log_var = nn.Parameter(initial)
        else:
            self.register_buffer("fixed_log_var", initial)
        self.register_buffer("min_log_var", torch.tensor(min_variance).log())

    def forward(self, z: Tensor) -> DiagonalNormal:
        h = self.body(z)
        mu = self.mu(h)  # [..., D]
        if self.variance == "fixed":
            return DiagonalNormal(mu, self.fixed_log_var.expand_as(mu))
        learned = self.log_var(h) if self.variance == "head" else self.shared_log_var
        return DiagonalNormal(mu, torch.maximum(learned, self.min_log_var).expand_as(mu))


class CategoricalDecoder(nn.Module):
    """p(x|z) = prod_l Categorical(x_l; softmax(logits_l(z))): one of A letters at each of L
    positions. Data are one-hot rows of D = L · A values."""

    def __init__(
        self, latent_dim: int, hidden: Sequence[int], data_dim: int, activation: str, letters: int
    ) -> None:
        super().__init__()
        self.body = mlp([latent_dim, *hidden], activation)
        self.logits = nn.Linear(hidden[-1], data_dim)
        self.letters = letters

    def forward(self, z: Tensor) -> OneHotSequence:
        logits = full_precision(self.logits(self.body(z)))
        return OneHotSequence(logits.unflatten(-1, (-1, self.letters)))

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


class GaussianPrior(nn.Module):
    """p(z) = N(mu, diag(exp(log_var))) with learned parameters, which start at N(0, I)."""

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.mu = nn.Parameter(torch.zeros(latent_dim))
        self.log_var = nn.Parameter(torch.zeros(latent_dim))

    def forward(self) -> DiagonalNormal:
        return DiagonalNormal(self.mu, self.log_var)
