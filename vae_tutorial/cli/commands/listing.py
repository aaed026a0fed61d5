"""``data``: which data sets there are, or all about one after it was found or fetched."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from vae_tutorial.cli.commands import examples, runs
from vae_tutorial.cli.commands.examples import SPLITS
from vae_tutorial.cli.settings import Data
from vae_tutorial.data import sources
from vae_tutorial.support import inputs


def data(settings: Data) -> dict[str, Any]:
    """Without a name, the title of each data set; with one, its sizes, source, license and
    citation, after its files were found or downloaded, and checked.

    Raises:
        ValueError: an unknown name.
        OSError: files are missing or broken, or cannot be fetched.
    """
    if not settings.name:
        return {name: source.title for name, source in sources.SOURCES.items()}
    source = sources.SOURCES[inputs.one_of("name", settings.name, sources.SOURCES)]
    facts = examples.load(settings.name, "auto", 0, runs.device("cpu")).facts()
    return {
        "name": settings.name,
        "title": source.title,
        **{key: facts[key] for key in (*SPLITS, "image_shape", "alphabet", "dimensions")},
        "citation": source.citation,
        "license": source.license,
        "places": list(dict.fromkeys(map(_place, source.files))) or ["comes with scikit-learn"],
        "urls": [url for file in source.files for url in file.urls],
    }


def _place(file: sources.File) -> str:
    """Where a file lies that :func:`vae_tutorial.sources.content` has found."""
    folder = Path(os.environ.get("VAE_TUTORIAL_DATA", ""))
    places = [folder / f"{file.place}{packing}" for packing in ("", ".gz", ".xz")]
    if file.place.startswith("binarized_mnist/"):
        places.insert(0, folder / sources.PACKED_BITS.place)
    mine = [place for place in places if "VAE_TUTORIAL_DATA" in os.environ and place.is_file()]
    return str(mine[0] if mine else sources._cache() / file.place)
