"""Reads an MLP decoder's layers off its torch modules, for a front end that computes them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from vae_tutorial import families
from vae_tutorial.model import VAE

ACTIVATIONS: dict[type[nn.Module], str] = {
    nn.Identity: "identity",
    nn.Tanh: "tanh",
    nn.ReLU: "relu",
    nn.Softplus: "softplus",
    nn.Sigmoid: "sigmoid",
}
PROBES = [[0.0, 0.0], [1.5, -0.5], [-2.0, 2.0]]


@dataclass(frozen=True)
class Layer:
    """h -> activation(W h + b)."""

    weight: NDArray[np.float32]  # [outputs, inputs]
    bias: NDArray[np.float32]  # [outputs]
    activation: str

    @property
    def description(self) -> dict[str, int | str]:
        outputs, inputs = self.weight.shape
        return {"inputs": inputs, "outputs": outputs, "activation": self.activation}


def decoder_layers(model: VAE) -> list[Layer]:
    """The layers from z to the decoder's mean image.

    Raises:
        ValueError: the decoder is no MLP of the known layers, or computes something else.
    """
    layers: list[Layer] = []
    for module in _modules(model):
        if isinstance(module, nn.Linear):
            bias = torch.zeros(module.out_features) if module.bias is None else module.bias
            layers.append(Layer(_array(module.weight), _array(bias), "identity"))
        elif type(module) in ACTIVATIONS and layers and layers[-1].activation == "identity":
            layers[-1] = Layer(layers[-1].weight, layers[-1].bias, ACTIVATIONS[type(module)])
        else:
            known = ", ".join(sorted(kind.__name__ for kind in ACTIVATIONS))
            raise ValueError(
                f"the decoder has a {type(module).__name__} layer here, which the explorer cannot "
                f"compute in the browser; it knows Linear layers, each followed by one of {known}"
            )
    layers = _with_link(model, layers)
    _compare(model, layers)
    return layers


def float16_bytes(arrays: list[NDArray[np.float32]]) -> bytes:
    """All values in order, as little-endian float16."""
    flat = np.concatenate([a.ravel() for a in arrays]) if arrays else np.zeros(0, np.float32)
    if np.abs(flat).max(initial=0) > np.finfo(np.float16).max:
        raise ValueError("a value is too large for float16, in which the explorer stores numbers")
    return flat.astype("<f2").tobytes()


def forward(layers: list[Layer], z: NDArray[np.float32]) -> NDArray[np.float32]:
    """What the front end computes, in NumPy: z [B, 2] to images [B, D]."""
    functions: dict[str, Callable[[NDArray[np.float32]], NDArray[np.float32]]] = {
        "identity": lambda s: s,
        "tanh": np.tanh,
        "relu": lambda s: np.maximum(s, 0),
        "softplus": lambda s: np.logaddexp(0, s),
        "sigmoid": lambda s: 0.5 * (1 + np.tanh(0.5 * s)),
    }
    h = z
    for layer in layers:
        h = functions[layer.activation](h @ layer.weight.T + layer.bias)
    return h


def _modules(model: VAE) -> list[nn.Module]:
    """The decoder's layers in the order of computation."""
    if isinstance(model.decoder, nn.Sequential):
        return [*model.decoder]
    raise ValueError(
        f"the explorer shows decoders that are an nn.Sequential, as VAE.mlp builds them, not "
        f"{type(model.decoder).__name__}"
    )


def _with_link(model: VAE, layers: list[Layer]) -> list[Layer]:
    """The layers up to the mean image: of a Bernoulli the sigmoid of the last outputs, of a
    Gaussian the first of them."""
    last, dim = layers[-1], model.data_dim()
    if isinstance(model.likelihood, families.Bernoulli) and last.activation == "identity":
        return [*layers[:-1], Layer(last.weight, last.bias, "sigmoid")]
    return [*layers[:-1], Layer(last.weight[:dim], last.bias[:dim], last.activation)]


def _array(values: torch.Tensor) -> NDArray[np.float32]:
    return values.detach().to("cpu", torch.float32).numpy()


def _compare(model: VAE, layers: list[Layer]) -> None:
    """Refuses a decoder whose forward pass is not the chain of its layers."""
    with torch.no_grad():
        z = torch.tensor(PROBES, device=model.device)
        mean = _array(model.decode(z).mean)
    found = forward(layers, np.asarray(PROBES, np.float32))
    if found.shape != mean.shape or not np.allclose(found, mean, atol=1e-3):
        raise ValueError(
            f"{type(model.decoder).__name__} computes something else than its layers one after "
            f"the other, and the explorer can only do that"
        )
