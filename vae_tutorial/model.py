"""The variational autoencoder: a generative model p(z) p(x|z) and an inference model q(z|x).

``VAE`` joins networks, which map tensors to tensors, with the families of distributions that their
outputs are the parameters of. Objectives and training live elsewhere.

Shapes: B examples, D values in an example, J latent dimensions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from vae_tutorial import families
from vae_tutorial.distributions import StandardNormal
from vae_tutorial.families import Posterior
from vae_tutorial.networks import ACTIVATIONS, mlp
from vae_tutorial.randomness import forked_seed
from vae_tutorial.support import inputs
from vae_tutorial.support.devices import default_device

__all__ = ["VAE"]

PRIORS = ("standard", "learned")


class VAE(nn.Module):
    """A generative model p(z) p(x|z) with its inference model q(z|x). It is made in eval mode:
    layers such as dropout are at work only while ``fit`` trains it, or after ``model.train()``.

    Args:
        encoder: a module that maps x [B, D] to the parameters of the posterior, [B, P].
        decoder: a module that maps z [N, J] to the parameters of the likelihood, N rows of any
            shape; a plain ``nn.Sequential`` will do, with convolutions or without.
        latent_dim: J, the dimension of z.
        posterior: makes q(z|x) of parameters; ``families.DiagonalGaussian()`` by default, or one
            of one's own (see :class:`vae_tutorial.families.Posterior`).
        likelihood: makes p(x|z), a distribution with event shape [D], of parameters;
            ``families.Bernoulli()`` by default. If it has a method ``check_data(x)``, that refuses
            data which it cannot explain.
        prior: returns p(z), a distribution with event shape [J], when it is called without
            arguments; None is N(0, I).
        device: where the model goes; by default where everything is made, ``default_device()``.
    """

    settings: dict[str, Any] | None = None
    """What :meth:`mlp` was called with; None for networks of one's own."""
    precision = "float32"
    """``"bf16"`` computes the networks' matrix products in bfloat16, all else as it is."""
    checks_data = True
    """Whether calls check their data; ``fit``, which has checked them, sets it to False."""
    _zero: Tensor  # J zeros, which know the dtype and the device

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        latent_dim: int,
        *,
        posterior: Callable[[Tensor], Posterior] | None = None,
        likelihood: Callable[[Tensor], Distribution] | None = None,
        prior: Callable[[], Distribution] | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        self.encoder, self.decoder = encoder, decoder
        self.latent_dim = inputs.positive_int("latent_dim", latent_dim)
        self.posterior = families.DiagonalGaussian() if posterior is None else posterior
        self.likelihood = families.Bernoulli() if likelihood is None else likelihood
        self.prior_network = prior
        self._data_dim: int | None = None
        self._standard: StandardNormal | None = None
        dtype = next((p.dtype for p in encoder.parameters()), torch.get_default_dtype())
        self.register_buffer("_zero", torch.zeros(latent_dim, dtype=dtype), persistent=False)
        self.eval().to(default_device() if device is None else device)

    @classmethod
    def mlp(
        cls,
        data_dim: int,
        latent_dim: int = 2,
        hidden: Sequence[int] | int = (200,),
        *,
        likelihood: str = "bernoulli",
        posterior: str = "diagonal",
        prior: str = "standard",
        activation: str = "tanh",
        variance: float = 0.05,
        letters: int | None = None,
        seed: int = 0,
        device: torch.device | str | None = None,
    ) -> VAE:
        """The MLP VAE of Kingma & Welling (2014), appendix C.

        Args:
            data_dim: D, the number of values in one example.
            latent_dim: J, the dimension of z.
            hidden: widths of the encoder's hidden layers; the decoder mirrors them.
            likelihood: ``"bernoulli"`` (binary data), ``"gaussian"`` (a variance for each value,
                computed from z), ``"gaussian_shared"`` (one learned variance),
                ``"gaussian_fixed"`` (one fixed variance) or ``"categorical"`` (one-hot sequences).
            posterior: the covariance of q(z|x), ``"diagonal"`` or ``"full"``.
            prior: ``"standard"`` for N(0, I), ``"learned"`` for a Gaussian with parameters.
            activation: ``"tanh"``, ``"relu"`` or ``"softplus"``.
            variance: the variance of ``"gaussian_fixed"``, the first one of ``"gaussian_shared"``.
            letters: A, the size of the alphabet of ``"categorical"``; it divides data_dim.
            seed: the seed of the initial weights; torch's global generator is left as it was.
            device: as for :class:`VAE`.

        Raises: ValueError for a size below 1, an unknown name, or a variance that cannot be.
        """
        settings = dict(locals())  # all arguments, but for these
        for name in ("cls", "seed", "device"):
            del settings[name]
        sizes = [hidden] if isinstance(hidden, int) else list(hidden)
        if not sizes:
            raise ValueError("hidden must name at least one layer, such as (200,), not ()")
        for name, size in [("data_dim", data_dim), ("latent_dim", latent_dim)]:
            inputs.positive_int(name, size)
        for size in sizes:
            inputs.positive_int("hidden", size)
        inputs.one_of("activation", activation, ACTIVATIONS)
        inputs.one_of("prior", prior, PRIORS)
        q = families.posterior(posterior)
        p = families.likelihood(likelihood, data_dim, variance, letters)
        with forked_seed(seed):
            encoder = mlp([data_dim, *sizes, q.num_parameters(latent_dim)], activation)
            decoder = mlp([latent_dim, *sizes[::-1], p.num_parameters(data_dim)], activation)
        prior_network = families.LearnedGaussian(latent_dim) if prior == "learned" else None
        vae = cls(
            encoder, decoder, latent_dim,
            posterior=q, likelihood=p, prior=prior_network, device=device,
        )  # fmt: skip
        vae.settings = {**settings, "hidden": sizes}
        return vae

    @property
    def prior(self) -> Distribution:
        """p(z), over [J]: N(0, I) unless the model has another prior."""
        if self.prior_network is not None:
            return self.prior_network()
        if self._standard is None or self._standard.mu is not self._zero:  # it was moved
            self._standard = StandardNormal(self._zero)
        return self._standard

    def encode(self, x: Tensor) -> Posterior:
        """q(z|x) of each example, for x of shape [B, D]."""
        return self.posterior(self.posterior_parameters(x))

    def posterior_parameters(self, x: Tensor) -> Tensor:
        """What the encoder says of each example, [B, P]: the parameters of q(z|x)."""
        parameters = self._output(self.encoder, x)
        if parameters.dim() != 2 or len(parameters) != len(x):
            raise ValueError(
                f"the encoder must return one row of parameters for each of {len(x)} examples, "
                f"[{len(x)}, P], not {list(parameters.shape)}; nn.Flatten() makes rows"
            )
        needed = getattr(self.posterior, "num_parameters", None)
        if needed is not None and parameters.shape[1] != needed(self.latent_dim):
            raise ValueError(
                f"the encoder must return {needed(self.latent_dim)} parameters of "
                f"{type(self.posterior).__name__} over {self.latent_dim} latent dimensions, not "
                f"{parameters.shape[1]}"
            )
        return parameters

    def decode(self, z: Tensor) -> Distribution:
        """p(x|z), with batch shape [...] and event shape [D], for z of shape [..., J]."""
        if z.dim() == 0 or z.shape[-1] != self.latent_dim:
            raise ValueError(
                f"z must have shape [..., {self.latent_dim}], not {list(z.shape)}; "
                f"this model has {self.latent_dim} latent dimensions"
            )
        rows = z.reshape(-1, self.latent_dim)  # [N, J]
        out = self._output(self.decoder, rows)
        if out.dim() < 2 or len(out) != len(rows):
            raise ValueError(
                f"the decoder must return one row for each of {len(rows)} codes, "
                f"[{len(rows)}, …], not {list(out.shape)}"
            )
        p = self.likelihood(out.reshape(*z.shape[:-1], -1))
        if p.batch_shape != z.shape[:-1] or len(p.event_shape) != 1:
            raise ValueError(
                f"the likelihood must have batch shape {list(z.shape[:-1])} and event shape [D], "
                f"not {list(p.batch_shape)} and {list(p.event_shape)}; "
                f"torch.distributions.Independent(…, 1) makes of the last dimension an event"
            )
        return p

    def log_likelihood(self, x: Tensor, z: Tensor) -> Tensor:
        """log p(x|z), [..., B], for x [B, D] and z [..., B, J]."""
        p = self.decode(z)
        if p.event_shape != x.shape[-1:]:
            raise ValueError(
                f"the decoder explains examples of {p.event_shape[0]} values, and x has "
                f"{x.shape[-1]}; give the decoder the width of the data"
            )
        return p.log_prob(x)

    def log_joint(self, x: Tensor, z: Tensor) -> Tensor:
        """log p(x, z) = log p(x|z) + log p(z), [..., B], for x [B, D] and z [..., B, J]."""
        return self.log_likelihood(x, z) + self.prior.log_prob(z)

    @property
    def theta(self) -> list[nn.Parameter]:
        """The parameters of p(x, z): of decoder, likelihood and prior."""
        parts = (self.decoder, self.likelihood, self.prior_network)
        return [p for part in parts if isinstance(part, nn.Module) for p in part.parameters()]

    @property
    def phi(self) -> list[nn.Parameter]:
        """The parameters of q(z|x): of encoder and posterior."""
        parts = (self.encoder, self.posterior)
        return [p for part in parts if isinstance(part, nn.Module) for p in part.parameters()]

    @property
    def noise_dim(self) -> int:
        """How many standard normal numbers make one z: J, unless the posterior says otherwise."""
        return int(getattr(self.posterior, "noise_dim", self.latent_dim))

    def data_dim(self) -> int:
        """D, the number of values in one example, found by decoding one z."""
        if self._data_dim is None:
            with self.evaluating():
                self._data_dim = self.decode(self._zero[None]).event_shape[0]
        return self._data_dim

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return self._zero.device

    def check_data(self, x: Tensor) -> Tensor:
        """Returns x if this model can explain it: finite, [B, D], of the model's type and on its
        device, and in the likelihood's support.

        Raises:
            TypeError: x is no tensor of the model's floating-point type.
            ValueError: x has another shape or device, NaN, or values outside the support.
        """
        if not self.checks_data:
            return x
        inputs.batch("x", x, self.data_dim(), like=self._zero)
        refuse: Callable[[Tensor], None] | None = getattr(self.likelihood, "check_data", None)
        if refuse is not None:
            refuse(x)
        return x

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Inside the block the model is in eval mode and no gradient is recorded; afterwards every
        layer is in the mode in which it was."""
        training = [module for module in self.modules() if module.training]
        self.eval()
        try:
            with torch.no_grad():
                yield
        finally:
            for module in training:
                module.training = True

    def _output(self, network: nn.Module, rows: Tensor) -> Tensor:
        """What a network makes of rows, in the model's precision."""
        if self.precision == "bf16":
            with torch.autocast(rows.device.type, torch.bfloat16):
                out = network(rows)
            out = out.float() if isinstance(out, Tensor) else out
        else:
            out = network(rows)
        if not isinstance(out, Tensor):
            raise TypeError(
                f"a network must return a tensor of parameters, not {type(out).__name__}; "
                f"VAE(…, posterior=…, likelihood=…) make distributions of it"
            )
        return out
