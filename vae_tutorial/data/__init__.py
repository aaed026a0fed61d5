"""Data sets by name: ``digits = load("digits")``; adding one is a record in ``catalog``."""

from __future__ import annotations

from pathlib import Path

import torch

from vae_tutorial.data import formats
from vae_tutorial.data.catalog import CATALOG, family
from vae_tutorial.data.dataset import PIXELS, Dataset, Split, binarize
from vae_tutorial.randomness import as_generator
from vae_tutorial.support import inputs
from vae_tutorial.support.devices import default_device

__all__ = ["CATALOG", "PIXELS", "Dataset", "Split", "binarize", "load", "load_alignment"]


def load(
    name: str,
    *,
    pixels: str | None = None,
    seed: int = 0,
    device: torch.device | str | None = None,
) -> Dataset:
    """Loads a data set by name, from your own folder, the cache, or its publisher.

    ``VAE_TUTORIAL_DATA`` names the folder; :mod:`vae_tutorial.data.fetching` says how it is laid
    out. All but the digits are downloaded once and checked by SHA-256. ``CATALOG`` has a record of
    each data set: its title, source and license.

    Splits are the published ones for MNIST, whose last 10,000 training images are ``valid``, and
    random for all others. Of frames and sequences, near twins of what is held out are then trained
    on, the frame before or a close relative, and held-out scores flatter; a split by clusters of
    relatives is left to you.

    Args:
        name: a key of ``CATALOG``, such as ``"digits"`` or ``"mnist"``.
        pixels: ``"static"``, ``"dynamic"``, ``"threshold"`` or ``"grey"``; see
            :mod:`vae_tutorial.data.dataset`. By default static, but grey for the faces; the
            binarized digits have only their published draw, which is static, and sequences none.
        seed: the seed of a random split and of the binarization.
        device: where the examples go; by default
            :func:`vae_tutorial.support.devices.default_device`.

    Raises:
        ValueError: an unknown name, an unknown kind of pixels, one that the data set does not
            have, a seed that is none, or a file that is not the published one.
        FileNotFoundError: a file is nowhere; the message says what to put where.
    """
    inputs.one_of("name", name, CATALOG)
    record = CATALOG[name]
    if pixels is not None and inputs.one_of("pixels", pixels, PIXELS) not in record.pixels:
        known = f"only {', '.join(record.pixels)}" if record.pixels else "it holds sequences"
        raise ValueError(f"{name} has no {pixels} pixels ({known}); leave pixels out")
    rng = as_generator(seed)
    dataset = record.read(record, rng)
    if dataset.pixels == "grey":
        dataset = dataset.with_pixels(pixels or record.pixels[0], rng)
    return dataset.to(default_device() if device is None else device)


def load_alignment(
    path: str | Path, *, seed: int = 0, device: torch.device | str | None = None
) -> Dataset:
    """A protein family of your own: FASTA or A2M, plain, gzipped or xz-compressed, split at random
    into 8/10, 1/10 and 1/10. Sequences with letters other than the 20 amino acids and the gap are
    left out.

    Raises:
        OSError: there is no such file, or it cannot be read.
        ValueError: it is no alignment, or has fewer than 20 sequences.
    """
    path = Path(path)
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise type(error)(f"{path} cannot be read ({error.strerror}); name another") from None
    dataset = family(
        formats.unpacked(raw, path), str(path), path.name.split(".")[0], as_generator(seed)
    )
    return dataset.to(default_device() if device is None else device)
