"""The data that a command's settings name: as training sees them, and as they are scored."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from vae_tutorial import data
from vae_tutorial.cli.commands.runs import reading
from vae_tutorial.data import Dataset, sources
from vae_tutorial.randomness import as_generator
from vae_tutorial.training.batches import Transform

SPLITS = ("train", "valid", "test")
LOADED_AS = {"static": "binary", "dynamic": "grey", "threshold": "threshold", "grey": "grey"}
BINARIZATION = {
    "static": "each pixel drawn once from a Bernoulli whose mean is its grey value",
    "dynamic": "each pixel drawn anew for every batch of training from a Bernoulli whose mean is "
    "its grey value; what is scored was drawn once, as for static",
    "threshold": "a pixel is 1 where its grey value is above one half",
    "grey": "none: grey values from 0 to 1",
    "published": "as published: drawn once for all",
    "none": "none: letters, one-hot",
}


@dataclass(frozen=True)
class Examples:
    """``fitted`` goes into ``fit``, its batches through ``transform``; ``fixed`` is what is
    scored, the same at every call."""

    fitted: Dataset
    fixed: Dataset
    transform: Transform | None
    pixels: str

    @property
    def letters(self) -> int | None:
        """The size of the alphabet of sequences; None for images."""
        return len(self.fixed.alphabet) if self.fixed.alphabet else None

    def scored(self, split: str) -> Tensor:
        """The examples of a split as the model sees them, [N, D]."""
        x: Tensor = getattr(self.fixed, split).x
        return self.transform(x, as_generator(0)) if self.transform else x

    def facts(self) -> dict[str, Any]:
        """What a result says about its data."""
        return {
            "name": self.fixed.name,
            "pixels": self.pixels,
            "binarization": BINARIZATION[self.pixels],
            "image_shape": list(self.fixed.image_shape) if self.fixed.image_shape else None,
            "alphabet": self.fixed.alphabet,
            "dimensions": self.fixed.dim,
            **{split: len(getattr(self.fixed, split)) for split in SPLITS},
        }


def load(name: str, pixels: str, seed: int, device: torch.device) -> Examples:
    """The data set of that name, or the alignment at that path, its grey pixels made binary as
    ``pixels`` says.

    Raises:
        ValueError: an unknown name, or pixels that these data do not have.
        OSError: files are missing or broken, or cannot be fetched.
    """
    _known(name, pixels)
    with reading():
        if data.is_alignment(name):
            return _sequences(data.load_alignment(name, seed, device))
        if not data.has_pixels(name):
            found = data.load(name, None, seed, device)
            return (
                _sequences(found) if found.alphabet else Examples(found, found, None, "published")
            )
        if pixels == "auto":
            pixels = "grey" if name == "frey_faces" else "static"
        loaded = data.load(name, LOADED_AS[pixels], seed, device)
        if pixels != "dynamic":
            return Examples(loaded, loaded, None, pixels)
        fixed = data.load(name, "binary", seed, device)
    # a bit stays what it is under binarize: what is held out keeps its one draw
    return Examples(replace(fixed, train=loaded.train), fixed, data.binarize, pixels)


def _sequences(found: Dataset) -> Examples:
    return Examples(found, found, found.one_hot, "none")


def _known(name: str, pixels: str) -> None:
    if name not in sources.SOURCES and not data.is_alignment(name):
        raise ValueError(
            f"data must be one of {', '.join(sources.SOURCES)}, or the path of an alignment in "
            f"FASTA or A2M, not {name!r}"
        )
    if pixels != "auto" and not data.has_pixels(name):
        raise ValueError(f"{name} has no grey pixels to make binary; leave out pixels {pixels!r}")
