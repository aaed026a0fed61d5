"""The companion package of a book on variational autoencoders (VAEs).

Data flows one way through the modules, and a module imports only what stands to its left::

    runtime -> data -> model -> objectives -> training -> evaluation -> figures, widgets
    exact, mean_field: models whose answers are known in closed form
    checks: verifies an equation and prints its tick

The last three import nothing of the package: the truth cannot share a mistake with what it scores.

Everything is measured in nats, summed over dimensions, one value per example. Modules load when
they are first used, so that ``import vae_tutorial`` costs no more than ``import torch``.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType

try:
    __version__ = version("vae_tutorial")
except PackageNotFoundError:  # run from a source tree that is not installed
    __version__ = "0+unknown"

__all__ = [
    "annealing",
    "checks",
    "data",
    "distributions",
    "evaluation",
    "exact",
    "figures",
    "gradients",
    "mean_field",
    "model",
    "networks",
    "objectives",
    "pretrained",
    "runtime",
    "storage",
    "training",
    "widgets",
]


def __getattr__(name: str) -> ModuleType:
    if name in __all__:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
