"""The variational autoencoder: a generative model p(z) p(x|z) and an inference model q(z|x).

``VAE`` holds an encoder, a decoder and a prior and says what they mean; each of the three
distributions is a ``torch.distributions`` object. Networks live in ``networks``, objectives and
training elsewhere; any encoder and decoder that return distributions will do.

Shapes: B examples, D values in an example, J latent dimensions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from vae_tutorial.distributions import DiagonalNormal, FullNormal, Posterior
from vae_tutorial.networks import (
    ACTIVATIONS,
    BernoulliDecoder,
    CategoricalDecoder,
    FullGaussianEncoder,
    GaussianDecoder,
    GaussianEncoder,
    GaussianPrior,
)
from vae_tutorial.randomness import forked_seed
from vae_tutorial.support import inputs
from vae_tutorial.support.devices import default_device

__all__ = ["VAE", "DiagonalNormal", "FullNormal"]

DECODERS = ("bernoulli", "gaussian", "gaussian_shared", "gaussian_fixed", "categorical")
POSTERIORS = ("diagonal", "full")
PRIORS = ("standard", "learned")


class VAE(nn.Module):
    """A generative model p(z) p(x|z) with its inference model q(z|x).

    Args:
        encoder: any module that maps x [B, D] to q(z|x), a :class:`DiagonalNormal` or a
            :class:`FullNormal` over [B, J].
        decoder: any module that maps z [..., J] to p(x|z), a distribution with event shape [D];
            if it has a method ``check_data(x)``, that refuses data which it cannot explain.
        latent_dim: J, the dimension of z.
        prior: any module that returns p(z), a distribution with event shape [J], when it is
            called without arguments; None is N(0, I).
    """

    settings: dict[str, Any] | None = None  # how `VAE.mlp` built this model
    _zero: Tensor

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        latent_dim: int,
        prior: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.latent_dim = inputs.positive_int("latent_dim", latent_dim)
        self.prior_network = prior
        self.register_buffer("_zero", torch.zeros(latent_dim), persistent=False)

    @classmethod
    def mlp(
        cls,
        data_dim: int,
        latent_dim: int = 2,
        hidden: Sequence[int] | int = (200,),
        decoder: str = "bernoulli",
        variance: float = 0.05,
        seed: int = 0,
        device: torch.device | str | None = None,
        *,
        activation: str = "tanh",
        posterior: str = "diagonal",
        prior: str = "standard",
        letters: int | None = None,
    ) -> VAE:
        """The MLP VAE of Kingma & Welling (2014), appendix C.

        Args:
            data_dim: D, the number of values in one example.
            latent_dim: J, the dimension of z.
            hidden: widths of the encoder's hidden layers; the decoder mirrors them.
            decoder: ``"bernoulli"`` (binary data), ``"gaussian"`` (a variance for each value,
                computed from z), ``"gaussian_shared"`` (one learned variance),
                ``"gaussian_fixed"`` (one fixed variance) or ``"categorical"`` (one-hot sequences).
            variance: the variance of ``"gaussian_fixed"``, the first one of ``"gaussian_shared"``.
            seed: the seed of the initial weights; torch's global generator is left as it was.
            device: by default :func:`vae_tutorial.runtime.default_device`.
            activation: ``"tanh"``, ``"relu"`` or ``"softplus"``.
            posterior: the covariance of q(z|x), ``"diagonal"`` or ``"full"``.
            prior: ``"standard"`` for N(0, I), ``"learned"`` for a Gaussian with parameters.
            letters: A, the size of the alphabet of ``"categorical"``; it divides data_dim.

        Raises:
            ValueError: a size below 1, an unknown name, or a variance that is not positive.
        """
        sizes = [hidden] if isinstance(hidden, int) else list(hidden)
        if not sizes:
            raise ValueError("hidden must name at least one layer, such as (200,), not ()")
        for name, size in [("data_dim", data_dim), *(("hidden", h) for h in sizes)]:
            inputs.positive_int(name, size)
        inputs.positive_int("latent_dim", latent_dim)
        inputs.one_of("decoder", decoder, DECODERS)
        inputs.one_of("activation", activation, ACTIVATIONS)
        inputs.one_of("posterior", posterior, POSTERIORS)
        inputs.one_of("prior", prior, PRIORS)
        inputs.finite_number("variance", variance, above=0)
        if decoder == "categorical" and (letters is None or letters < 2 or data_dim % letters):
            raise ValueError(
                f"letters must be a whole number of at least 2 that divides data_dim={data_dim} "
                f"(positions times letters), not {letters!r}"
            )
        encoder_kind = GaussianEncoder if posterior == "diagonal" else FullGaussianEncoder
        shape = (latent_dim, sizes[::-1], data_dim, activation)
        with forked_seed(seed):
            encode = encoder_kind(data_dim, sizes, latent_dim, activation)
            decode: nn.Module
            if decoder == "bernoulli":
                decode = BernoulliDecoder(*shape)
            elif decoder == "categorical":
                decode = CategoricalDecoder(*shape, letters=cast(int, letters))
            else:
                kind = decoder.removeprefix("gaussian").strip("_") or "head"
                decode = GaussianDecoder(*shape, variance=kind, initial_variance=variance)
            prior_network = GaussianPrior(latent_dim) if prior == "learned" else None
        vae = cls(encode, decode, latent_dim, prior_network)
        vae = vae.to(default_device() if device is None else device)
        vae.settings = {
            "data_dim": data_dim,
            "latent_dim": latent_dim,
            "hidden": sizes,
            "decoder": decoder,
            "variance": variance,
            "activation": activation,
            "posterior": posterior,
            "prior": prior,
            "letters": letters,
        }
        return vae

    @property
    def prior(self) -> Distribution:
        """p(z), over [J]: N(0, I) unless the model has another prior."""
        if self.prior_network is None:
            return DiagonalNormal(self._zero, self._zero)
        p: Distribution = self.prior_network()
        return p

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return self._zero.device

    def encode(self, x: Tensor) -> Posterior:
        """q(z|x), with batch shape [B] and event shape [J], for x of shape [B, D]."""
        q = self.encoder(x)
        if not isinstance(q, DiagonalNormal | FullNormal) or q.mu.shape[-1] != self.latent_dim:
            raise TypeError(
                f"the encoder must return a DiagonalNormal or a FullNormal over "
                f"{self.latent_dim} dimensions, not {q!r}"
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
        inputs.batch("x", x, width)
        refuse: Callable[[Tensor], None] | None = getattr(self.decoder, "check_data", None)
        if refuse is not None:
            refuse(x)
        return x
