"""``sample``: what a model makes up, as a picture, as arrays, or as sequences."""

from __future__ import annotations

import io
import math
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from vae_tutorial.cli import runs
from vae_tutorial.cli.settings import Sample
from vae_tutorial.distributions import draw
from vae_tutorial.randomness import as_generator
from vae_tutorial.support import files, inputs

SIDE = 56  # pixels of an image in a picture, at least


def run(settings: Sample) -> dict[str, Any]:
    """Draws z ~ p(z) and x ~ p(x|z) and writes them to ``settings.out``."""
    inputs.positive_int("num", settings.num)
    inputs.one_of("the ending of out", kind := settings.out.suffix.lower(), ENDINGS)
    if kind == ".png" and find_spec("matplotlib") is None:
        raise ValueError(
            "a picture needs matplotlib, which is not here: install the extra by pip install "
            "'vae_tutorial[book]', or name a FILE.npz"
        )
    model, path = runs.find_model(settings.model)
    facts = runs.results_of(path.parent).get("data", {}) if path else {}
    fitting = (".fasta", ".npz") if facts.get("alphabet") else (".png", ".npz")
    inputs.one_of("the ending of out, for this model,", kind, fitting)
    rng = as_generator(settings.seed)
    with model.evaluating():
        z = draw(model.prior, (settings.num,), rng)
        p = model.decode(z)
        arrays = {"x": draw(p, (), rng), "mean": p.mean, "z": z}
    content = ENDINGS[kind]({name: array.cpu().numpy() for name, array in arrays.items()}, facts)
    files.write(settings.out, content)
    return {"file": str(settings.out), "samples": settings.num, "seed": settings.seed}
