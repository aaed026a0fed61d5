"""The variational autoencoder: a generative model p(z) p(x|z) and an inference model q(z|x).

``VAE`` holds an encoder and a decoder and says what they mean; each of the three distributions is
a ``torch.distributions`` object. The networks are those of Kingma & Welling (2014), appendix C:
tanh layers, then linear heads. Objectives and training live elsewhere; any encoder and decoder
that return distributions will do.

Shapes: B examples, D values in an example, J latent dimensions.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Bernoulli, Distribution, Independent, Normal

from vae_tutorial import _door
from vae_tutorial.runtime import default_device, forked_seed

DECODERS = ("bernoulli", "gaussian", "gaussian_fixed")


class DiagonalNormal(Independent):  # type: ignore[type-arg]
    """N(mu, diag(exp(log_var))): a normal distribution over the last dimension, which remembers
    its parameters ``mu`` and ``log_var``, each [..., J]."""

    def __init__(self, mu: Tensor, log_var: Tensor) -> None:
        sigma = torch.exp(0.5 * log_var)
        super().__init__(Normal(mu, sigma, validate_args=False), 1, validate_args=False)
        self.mu, self.log_var, self.sigma = mu, log_var, sigma


def mlp(widths: Sequence[int]) -> nn.Sequential:
    """Linear layers of the given widths, each followed by tanh."""
    pairs = itertools.pairwise(widths)
    return nn.Sequential(*[m for n, k in pairs for m in (nn.Linear(n, k), nn.Tanh())])


class GaussianEncoder(nn.Module):
    """q(z|x) = N(mu(x), diag(exp(log_var(x)))), by an MLP with two linear heads.

    Source: Kingma & Welling (2014), appendix C.2, with x and z swapped.
    """

    def __init__(self, data_dim: int, hidden: Sequence[int], latent_dim: int) -> None:
        super().__init__()
        self.body = mlp([data_dim, *hidden])
        self.mu = nn.Linear(hidden[-1], latent_dim)
        self.log_var = nn.Linear(hidden[-1], latent_dim)

    def forward(self, x: Tensor) -> DiagonalNormal:
        h = self.body(x)  # [B, H]
        return DiagonalNormal(self.mu(h), self.log_var(h))


class BernoulliDecoder(nn.Module):
    """p(x|z) = prod_d Bernoulli(x_d; sigmoid(logits_d(z))): for binary data, and only for it.

    Source: Kingma & Welling (2014), appendix C.1.
    """

    def __init__(self, latent_dim: int, hidden: Sequence[int], data_dim: int) -> None:
        super().__init__()
        self.body = mlp([latent_dim, *hidden])
        self.logits = nn.Linear(hidden[-1], data_dim)

    def forward(self, z: Tensor) -> Distribution:
        logits = self.logits(self.body(z))  # [..., D]
        return Independent(Bernoulli(logits=logits, validate_args=False), 1, validate_args=False)

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

    The log-variance is either one fixed number or a second head of the network, clamped from below
    because the likelihood has no upper bound where a pixel is constant.

    Source: Kingma & Welling (2014), appendix C.2.
    """

    fixed_log_var: Tensor
    min_log_var: Tensor

    def __init__(
        self,
        latent_dim: int,
        hidden: Sequence[int],
        data_dim: int,
        variance: float | None = None,
        min_variance: float = 1e-3,
    ) -> None:
        super().__init__()
        self.body = mlp([latent_dim, *hidden])
        self.mu = nn.Linear(hidden[-1], data_dim)
        self.log_var = nn.Linear(hidden[-1], data_dim) if variance is None else None
        self.register_buffer("fixed_log_var", torch.tensor(variance or 1.0).log())
        self.register_buffer("min_log_var", torch.tensor(min_variance).log())

    def forward(self, z: Tensor) -> DiagonalNormal:
        h = self.body(z)
        mu = self.mu(h)  # [..., D]
        if self.log_var is None:
            return DiagonalNormal(mu, self.fixed_log_var.expand_as(mu))
        return DiagonalNormal(mu, torch.maximum(self.log_var(h), self.min_log_var))


class VAE(nn.Module):
    """A generative model p(z) p(x|z) with its inference model q(z|x).

    Args:
        encoder: any module that maps x [B, D] to q(z|x), a :class:`DiagonalNormal` over [B, J].
        decoder: any module that maps z [..., J] to p(x|z), a distribution with event shape [D];
            if it has a method ``check_data(x)``, that refuses data which it cannot explain.
        latent_dim: J, the dimension of z.
    """

    settings: dict[str, Any] | None = None  # how `VAE.mlp` built this model
    _zero: Tensor

    def __init__(self, encoder: nn.Module, decoder: nn.Module, latent_dim: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.latent_dim = _door.positive_int("latent_dim", latent_dim)
        self.register_buffer("_zero", torch.zeros(latent_dim), persistent=False)

    @classmethod
    def mlp(
        cls,
        data_dim: int,
        latent_dim: int = 2,
        hidden: Sequence[int] = (200,),
        decoder: str = "bernoulli",
        variance: float = 0.05,
        seed: int = 0,
        device: torch.device | str | None = None,
    ) -> VAE:
        """The MLP VAE of Kingma & Welling (2014), appendix C.

        Args:
            data_dim: D, the number of values in one example.
            latent_dim: J, the dimension of z.
            hidden: widths of the encoder's hidden tanh layers; the decoder mirrors them.
            decoder: ``"bernoulli"`` (binary data), ``"gaussian"`` (a variance for each value,
                computed from z) or ``"gaussian_fixed"`` (one fixed variance).
            variance: the variance of ``"gaussian_fixed"``.
            seed: the seed of the initial weights; torch's global generator is left as it was.
            device: by default :func:`vae_tutorial.runtime.default_device`.

        Raises:
            ValueError: a size below 1, an unknown decoder, or a variance that is not positive.
        """
        sizes = [hidden] if isinstance(hidden, int) else list(hidden)
        if not sizes:
            raise ValueError("hidden must name at least one layer, such as (200,), not ()")
        for name, size in [("data_dim", data_dim), *(("hidden", h) for h in sizes)]:
            _door.positive_int(name, size)
        _door.positive_int("latent_dim", latent_dim)
        _door.one_of("decoder", decoder, DECODERS)
        _door.finite_number("variance", variance, above=0)
        with forked_seed(seed):
            encode = GaussianEncoder(data_dim, sizes, latent_dim)
            decode: nn.Module
            if decoder == "bernoulli":
                decode = BernoulliDecoder(latent_dim, sizes[::-1], data_dim)
            else:
                fixed = variance if decoder == "gaussian_fixed" else None
                decode = GaussianDecoder(latent_dim, sizes[::-1], data_dim, fixed)
        vae = cls(encode, decode, latent_dim).to(default_device() if device is None else device)
        vae.settings = {
            "data_dim": data_dim,
            "latent_dim": latent_dim,
            "hidden": sizes,
            "decoder": decoder,
            "variance": variance,
        }
        return vae

    @property
    def prior(self) -> DiagonalNormal:
        """p(z) = N(0, I), over [J]."""
        return DiagonalNormal(self._zero, self._zero)

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return self._zero.device

    def encode(self, x: Tensor) -> DiagonalNormal:
        """q(z|x), with batch shape [B] and event shape [J], for x of shape [B, D]."""
        q = self.encoder(x)
        if not isinstance(q, DiagonalNormal) or q.mu.shape[-1] != self.latent_dim:
            raise TypeError(
                f"the encoder must return a DiagonalNormal over {self.latent_dim} dimensions, "
                f"not {q!r}; build it from the encoder's mu and log_var"
            )
        return q

    def decode(self, z: Tensor) -> Distribution:
        """p(x|z), with event shape [D], for z of shape [..., J]."""
        if z.shape[-1] != self.latent_dim:
            raise ValueError(
                f"z must have shape [..., {self.latent_dim}], not {list(z.shape)}; "
                f"this model has {self.latent_dim} latent dimensions"
            )
        p: Distribution = self.decoder(z)
        return p

    def check_data(self, x: Tensor) -> Tensor:
        """Returns x if this model can explain it: finite, [B, D], and in the decoder's support.

        Raises:
            TypeError: x is no floating-point tensor.
            ValueError: x has another shape, NaN, or values outside the decoder's support.
        """
        width = self.settings["data_dim"] if self.settings else None
        _door.batch("x", x, width)
        refuse: Callable[[Tensor], None] | None = getattr(self.decoder, "check_data", None)
        if refuse is not None:
            refuse(x)
        return x
