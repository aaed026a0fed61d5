"""``sample``: what a model makes up, as a picture, as arrays, or as sequences."""

from __future__ import annotations

import io
import math
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vae_tutorial.cli.commands import runs
from vae_tutorial.cli.settings import Sample
from vae_tutorial.distributions import draw
from vae_tutorial.randomness import as_generator
from vae_tutorial.support import files

SIDE = 56  # pixels of an image in a picture, at least


def sample(settings: Sample) -> dict[str, Any]:
    """Draws z ~ p(z) and x ~ p(x|z) and writes them to ``settings.out``; what there is.

    Raises:
        ValueError: a kind of file that does not suit the model, or a picture without matplotlib.
        OSError: the model is missing or broken, or the file cannot be written.
    """
    kind = settings.out.suffix.lower()
    if kind == ".png" and find_spec("matplotlib") is None:
        raise ValueError(
            "a picture needs matplotlib, which is not here: install the extra by pip install "
            "'vae_tutorial[book]', or name a FILE.npz"
        )
    model, folder = runs.find_model(settings.model, runs.device(settings.device))
    facts = (runs.results_of(folder) or {}).get("data", {}) if folder else {}
    alphabet: str = facts.get("alphabet") or ""
    if (kind == ".fasta") != bool(alphabet) and kind != ".npz":
        fitting = "FILE.fasta or FILE.npz" if alphabet else "FILE.png or FILE.npz"
        raise ValueError(f"out must be {fitting} for this model, not {settings.out.name!r}")
    rng = as_generator(settings.seed)
    with torch.no_grad():
        z = draw(model.prior, (settings.num,), rng)
        p = model.decode(z)
        x, mean = draw(p, (), rng).cpu(), p.mean.cpu()
    if kind == ".npz":
        content = _npz(z=z.cpu(), mean=mean, x=x)
    elif kind == ".fasta":
        content = _fasta(x, alphabet)
    else:
        content = _png(mean, _image_shape(facts, mean.shape[1]))
    files.write(settings.out, content)
    return {"file": str(settings.out), "samples": settings.num, "seed": settings.seed}


def _npz(**tensors: Tensor) -> bytes:
    buffer = io.BytesIO()
    arrays = {name: t.numpy() for name, t in tensors.items()}
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def _fasta(x: Tensor, alphabet: str) -> bytes:
    """One-hot rows [N, L · A] as sequences of letters."""
    numbers = x.unflatten(-1, (-1, len(alphabet))).argmax(-1).tolist()
    records = (
        f">sample_{n}\n{''.join(alphabet[i] for i in row)}\n" for n, row in enumerate(numbers, 1)
    )
    return "".join(records).encode()


def _image_shape(facts: dict[str, Any], dim: int) -> tuple[int, int]:
    side = math.isqrt(dim)
    height, width = facts.get("image_shape") or (side, side)
    if height * width != dim:
        raise ValueError(
            f"nothing beside the model says how its {dim} values make an image; name a FILE.npz"
        )
    return height, width


def _png(images: Tensor, shape: tuple[int, int]) -> bytes:
    """Images in rows, about as many as columns, with a border between them; ink is dark."""
    from matplotlib.image import imsave

    scale = math.ceil(SIDE / max(shape))
    tiles = images.view(-1, *shape).clamp(0, 1)
    tiles = tiles.repeat_interleave(scale, 1).repeat_interleave(scale, 2)
    tiles = torch.nn.functional.pad(tiles, (1, 1, 1, 1), value=0.25)
    columns = math.ceil(math.sqrt(len(tiles)))
    rows = math.ceil(len(tiles) / columns)
    sheet = tiles.new_zeros(rows * columns, *tiles.shape[1:])
    sheet[: len(tiles)] = tiles
    sheet = sheet.unflatten(0, (rows, columns)).permute(0, 2, 1, 3).flatten(2).flatten(0, 1)
    buffer = io.BytesIO()
    imsave(buffer, sheet.numpy(), cmap="gray_r", vmin=0, vmax=1, format="png", metadata={})
    return buffer.getvalue()
