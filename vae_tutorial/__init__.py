"""The companion package of a book on variational autoencoders (VAEs).

Data flow one way through the package, and a module imports only what stands to its left::

    data -> model -> objectives -> training -> evaluation -> book, cli
    exact, mean_field, book.checks: import nothing of the package

The last three are the truth that all else is scored against, and cannot share a mistake with it.

Everything is measured in nats, summed over dimensions, one value per example. Names load when they
are first used, so that ``import vae_tutorial`` costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vae_tutorial.data import load
    from vae_tutorial.evaluation import log_evidence
    from vae_tutorial.kl import gaussian_kl
    from vae_tutorial.model import VAE
    from vae_tutorial.objectives import elbo, iwae_bound
    from vae_tutorial.training import Checkpoint, fit, load_model, save_model

try:
    __version__ = version("vae_tutorial")
except PackageNotFoundError:  # run from a source tree that is not installed
    __version__ = "0+unknown"

__all__ = [
    "VAE",
    "Checkpoint",
    "elbo",
    "fit",
    "gaussian_kl",
    "iwae_bound",
    "load",
    "load_model",
    "log_evidence",
    "save_model",
]

_HOME = {
    "VAE": "model",
    "Checkpoint": "training",
    "elbo": "objectives",
    "fit": "training",
    "gaussian_kl": "kl",
    "iwae_bound": "objectives",
    "load": "data",
    "load_model": "training",
    "log_evidence": "evaluation",
    "save_model": "training",
}
_MODULES = (
    "book", "data", "distributions", "evaluation", "exact", "families", "gradients", "kl",
    "mean_field", "model", "networks", "objectives", "randomness", "schedules", "training",
)  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__, *_MODULES])
