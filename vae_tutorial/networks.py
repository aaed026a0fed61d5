"""Networks: tensors in, tensors out. What their outputs mean is said by ``families``."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from functools import partial

from torch import nn

__all__ = ["ACTIVATIONS", "mlp"]

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "tanh": nn.Tanh,
    "relu": partial(nn.ReLU, inplace=True),  # nobody needs what comes before it
    "softplus": nn.Softplus,
}


def mlp(widths: Sequence[int], activation: str = "tanh") -> nn.Sequential:
    """Linear layers between the given widths, with the activation between two layers.

    ``mlp([784, 400, 40])`` maps [B, 784] to [B, 40] by way of 400 hidden units.

    Source: Kingma & Welling (2014), appendix C.
    """
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(widths):
        layers += [nn.Linear(inputs, outputs), ACTIVATIONS[activation]()]
    return nn.Sequential(*layers[:-1])
