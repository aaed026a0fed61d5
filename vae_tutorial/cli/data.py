"""``data``: which data sets there are, or all about one after it was found or fetched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vae_tutorial import data
from vae_tutorial.cli.runs import reading
from vae_tutorial.cli.settings import Data
from vae_tutorial.data import CATALOG, Dataset
from vae_tutorial.randomness import as_generator
from vae_tutorial.support import inputs

SPLITS = ("train", "valid", "test")


def run(settings: Data) -> dict[str, Any]:
    """Without a name, the title of each data set; with one, its sizes, source, license and
    citation, after its files were found or downloaded, and checked."""
    if not settings.name:
        return {name: record.title for name, record in CATALOG.items()}
    record = CATALOG[inputs.one_of("name", settings.name, CATALOG)]
    return {
        **facts(load(record.name, "auto", 0)),
        "title": record.title,
        "citation": record.citation,
        "license": record.license,
        "urls": [url for file in record.files for url in file.urls],
        "places": list(map(str, record.places())),
    }


def report(results: dict[str, Any]) -> str:
    """All data sets, a line each; or one."""
    if "places" not in results:
        lines = [f"  {name:17}{title}\n" for name, title in results.items()]
        return f"{''.join(lines)}fetch and check one: vae-tutorial data NAME"
    shape, left_out = results["image_shape"], results["left_out"]
    kind = f"{shape[0]}×{shape[1]} pixels" if shape else f"letters {results['alphabet']}"
    lines = [
        f"train / valid / test  {' / '.join(f'{results[split]:,}' for split in SPLITS)}, {kind}",
        *([f"left out              {left_out:,}, with other letters"] if left_out else []),
        f"source                {results['citation']}",
        f"license               {results['license']}",
        *(f"published at          {url}" for url in results["urls"]),
        *(f"checked               {place}" for place in results["places"]),
    ]
    return "\n  ".join([f"{results['name']}: {results['title']}", *lines])


def is_alignment(name: str) -> bool:
    """Whether a name is no data set's but the path of a file."""
    return name not in CATALOG and Path(name).is_file()


def load(name: str, pixels: str, seed: int) -> Dataset:
    """The data set of that name, or the alignment at that path. What the words of a command have
    wrong is a ValueError, what files have wrong an OSError."""
    own, chosen = is_alignment(name), None if pixels == "auto" else pixels
    if name not in CATALOG and not own:
        raise ValueError(
            f"data must be one of {', '.join(CATALOG)}, or the path of an alignment in FASTA or "
            f"A2M, not {name!r}"
        )
    if chosen and (own or chosen not in CATALOG[name].pixels):
        raise ValueError(f"the data {name} have no {pixels} pixels; leave out --pixels")
    as_generator(seed)
    with reading():
        if own:
            return data.load_alignment(name, seed=seed)
        return data.load(name, pixels=chosen, seed=seed)


def facts(dataset: Dataset) -> dict[str, Any]:
    """What a result says about its data."""
    names = ("name", "pixels", "image_shape", "alphabet", "left_out")
    facts = {name: getattr(dataset, name) for name in names}
    return {**facts, "dimensions": dataset.dim, **{s: len(getattr(dataset, s)) for s in SPLITS}}
