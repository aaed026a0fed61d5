"""``data``: which data sets there are, or all about one after it was found or fetched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vae_tutorial import data
from vae_tutorial.cli.settings import Data
from vae_tutorial.data import CATALOG, Dataset

SPLITS = ("train", "valid", "test")


def run(settings: Data) -> str:
    """Without a name, the title of each data set; with one, what it is and where it lies, after
    its files were found or downloaded, and checked."""
    if not settings.name:
        return "\n".join(f"{name:17}{record.title}" for name, record in CATALOG.items())
    dataset, record = data.load(settings.name), CATALOG[settings.name]
    lines = [
        record.title,
        str(dataset),
        f"source: {record.citation}",
        f"license: {record.license}",
    ]
    lines += [f"published at {url}" for file in record.files for url in file.urls]
    return "\n  ".join([*lines, *(f"checked {place}" for place in record.places())])


def is_alignment(name: str) -> bool:
    """Whether a name is no data set's but the path of a file."""
    return name not in CATALOG and Path(name).is_file()


def load(name: str, pixels: str, seed: int) -> Dataset:
    """The data set of that name, or the alignment at that path."""
    chosen = None if pixels == "auto" else pixels
    if name in CATALOG:
        return data.load(name, pixels=chosen, seed=seed)
    if not is_alignment(name):
        known = f"{', '.join(CATALOG)}, or the path of an alignment in FASTA or A2M"
        raise ValueError(f"data must be one of {known}, not {name!r}")
    if chosen:
        raise ValueError(f"{name} has no {pixels} pixels, it holds sequences; leave pixels out")
    return data.load_alignment(name, seed=seed)


def facts(dataset: Dataset) -> dict[str, Any]:
    """What a result says about its data."""
    names = ("name", "pixels", "image_shape", "alphabet", "left_out")
    facts = {name: getattr(dataset, name) for name in names}
    return {**facts, "dimensions": dataset.dim, **{s: len(getattr(dataset, s)) for s in SPLITS}}
