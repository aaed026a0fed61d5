"""Saving a model to one safe file and loading it by one call; nothing is ever unpickled."""

from __future__ import annotations

import json
import os
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from vae_tutorial.model import VAE
from vae_tutorial.support import files

FORMAT = "vae_tutorial-1"


def save_model(model: VAE, path: str | os.PathLike[str]) -> None:
    """Writes a model that :meth:`VAE.mlp` built, with its settings, as one safetensors file.

    The file appears whole or not at all: it is written beside its place and then renamed.

    Raises:
        ValueError: the model was not built by ``VAE.mlp``, so that nobody could rebuild it.
        OSError: the disk is full or the place cannot be written; what was there stays.
    """
    if model.settings is None:
        raise ValueError(
            "only a model built by VAE.mlp can be saved with its settings; "
            "save the state_dict of your own encoder and decoder with safetensors"
        )
    tensors = {k: v.detach().cpu().contiguous() for k, v in model.state_dict().items()}
    metadata = {"format": FORMAT, "settings": json.dumps(model.settings)}
    files.write(path, save(tensors, metadata))


def load_model(path: str | os.PathLike[str], device: torch.device | str | None = None) -> VAE:
    """Builds the model that :func:`save_model` wrote; it gives identical outputs.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is truncated, foreign or tampered with.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no model file {path}")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if metadata.get("format") != FORMAT:
            raise ValueError(f"its format is {metadata.get('format')!r}, not {FORMAT!r}")
        vae = VAE.mlp(**json.loads(metadata["settings"]), device=device)
        vae.load_state_dict(tensors)
    except (SafetensorError, ValueError, KeyError, TypeError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(
            f"{path} is not a whole model file of this package ({reason}); save the model again"
        ) from error
    return vae
