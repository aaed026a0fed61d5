"""Saving a model to one safe file and loading it by one call; nothing is ever unpickled."""

from __future__ import annotations

import json
import os
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from vae_tutorial.model import VAE
from vae_tutorial.support import files

FORMAT = "vae_tutorial-1"


def save_model(model: VAE, path: str | os.PathLike[str]) -> None:
    """Writes a model that :meth:`VAE.mlp` built, with its settings, as one safetensors file.

    The file appears whole or not at all: it is written beside its place and then renamed.

    Raises:
        ValueError: the model is not as ``VAE.mlp`` builds it, so that nobody could rebuild it.
        OSError: the disk is full or the place cannot be written; what was there stays.
    """
    if model.settings is None or repr(VAE.mlp(**model.settings, device="cpu")) != repr(model):
        built = "was not built" if model.settings is None else "is no longer as it was built"
        raise ValueError(
            f"this model {built} by VAE.mlp, and only such a one can be saved with its settings; "
            f"save the state_dict of a model of your own with safetensors"
        )
    write_tensors(path, model.state_dict(), FORMAT, {"settings": json.dumps(model.settings)})


def load_model(path: str | os.PathLike[str], device: torch.device | str | None = None) -> VAE:
    """Builds the model that :func:`save_model` wrote; it gives identical outputs.

    Args:
        path: the file.
        device: where the model goes; the default device if it is None.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is truncated, foreign or tampered with.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no model file {path}")
    try:
        tensors, texts = read_tensors(path, FORMAT)
        vae = VAE.mlp(**json.loads(texts["settings"]), device=device)
        vae.load_state_dict(tensors)
    except (ValueError, KeyError, TypeError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise files.BrokenFileError(
            f"{path} is not a whole model file of this package ({reason}); save the model again"
        ) from error
    return vae


def write_tensors(
    path: str | os.PathLike[str], tensors: dict[str, Tensor], kind: str, texts: dict[str, str]
) -> None:
    """Writes tensors and texts as one safetensors file of a kind, whole or not at all.

    Raises:
        OSError: the disk is full or the place cannot be written; what was there stays.
    """
    whole = {name: t.detach().cpu().clone().contiguous() for name, t in tensors.items()}
    files.write(path, save(whole, {"format": kind, **texts}))


def read_tensors(
    path: str | os.PathLike[str], kind: str
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """What :func:`write_tensors` wrote.

    Raises:
        ValueError: the file is truncated, or of another kind.
    """
    try:
        with safe_open(path, framework="pt") as file:
            texts = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(str(error)) from error
    if texts.get("format") != kind:
        raise ValueError(f"its format is {texts.get('format')!r}, not {kind!r}")
    return tensors, texts
