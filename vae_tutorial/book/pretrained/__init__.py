"""Weights that the project trained itself, shipped with the package: ``load("mnist_2d")``.

Each model is a safetensors file and, beside it, a JSON file of provenance: the data, the command,
the seed, the epochs and the score.
"""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch

from vae_tutorial.model import VAE
from vae_tutorial.support import inputs
from vae_tutorial.training.saving import load_model

_FOLDER = Path(str(files(__name__)))


def names() -> list[str]:
    """The models that ship with the package."""
    return sorted(path.stem for path in _FOLDER.glob("*.safetensors"))


def load(name: str, device: torch.device | str | None = None) -> VAE:
    """A trained model by name, on the given device or on the default one.

    Raises:
        ValueError: an unknown name.
    """
    return load_model(_FOLDER / f"{inputs.one_of('name', name, names())}.safetensors", device)


def provenance(name: str) -> dict[str, Any]:
    """How a model was trained: data, command, seed, epochs, score.

    Raises:
        ValueError: an unknown name.
    """
    path = _FOLDER / f"{inputs.one_of('name', name, names())}.json"
    record: dict[str, Any] = json.loads(path.read_text())
    return record
