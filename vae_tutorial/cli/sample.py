"""``sample``: what a model makes up, as a picture, as arrays, or as sequences."""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np

from vae_tutorial.cli import runs
from vae_tutorial.cli.settings import Sample
from vae_tutorial.distributions import draw
from vae_tutorial.randomness import as_generator
from vae_tutorial.support import files, inputs


def run(settings: Sample) -> str:
    """Draws z ~ p(z) and x ~ p(x|z) and writes them, in the format that the file's ending says."""
    inputs.positive_int("num", settings.num)
    model, path = runs.find_model(settings.model)
    facts = runs.results_of(path.parent).get("data", {}) if path else {}
    alphabet: str = facts.get("alphabet") or ""
    rng = as_generator(settings.seed)
    fitting = (".fasta", ".npz") if alphabet else (".png", ".npz")
    kind = inputs.one_of("the ending of out", settings.out.suffix.lower(), fitting)
    with model.evaluating():
        z = draw(model.prior, (settings.num,), rng)
        p = model.decode(z)
        tensors = {"x": draw(p, (), rng), "mean": p.mean, "z": z}
    arrays: dict[str, Any] = {name: tensor.cpu().numpy() for name, tensor in tensors.items()}
    if kind == ".png":
        content = _png(arrays["mean"], facts.get("image_shape"))
    elif kind == ".fasta":
        content = _fasta(arrays["x"], alphabet)
    else:
        np.savez_compressed(buffer := io.BytesIO(), **arrays)
        content = buffer.getvalue()
    files.write(settings.out, content)
    return f"{settings.num:,} samples are in {settings.out}"


def _fasta(x: np.ndarray, alphabet: str) -> bytes:
    """One-hot rows [N, L · A] as sequences of letters."""
    letters = np.array(list(alphabet))[x.reshape(len(x), -1, len(alphabet)).argmax(-1)]
    return "".join(f">sample_{n}\n{''.join(row)}\n" for n, row in enumerate(letters, 1)).encode()


def _png(images: np.ndarray, shape: tuple[int, int] | None) -> bytes:
    """Images in rows, about as many as columns, with a border between them; ink is dark."""
    try:
        from matplotlib.image import imsave
    except ImportError:
        raise ValueError("FILE.png needs matplotlib: install it, or name a FILE.npz") from None
    count, dim = images.shape
    height, width = shape or (math.isqrt(dim), math.isqrt(dim))
    if height * width != dim:
        raise ValueError(f"nothing says how {dim} values make an image; name a FILE.npz")
    scale, columns = math.ceil(56 / max(height, width)), math.ceil(math.sqrt(count))
    tiles = np.kron(images.reshape(-1, height, width).clip(0, 1), np.ones((1, scale, scale)))
    tiles = np.pad(tiles, ((0, 0), (1, 1), (1, 1)), constant_values=0.25)
    tiles = np.pad(tiles, ((0, -count % columns), (0, 0), (0, 0)))  # the last row is filled up
    rows = [np.hstack(list(row)) for row in tiles.reshape(-1, columns, *tiles.shape[1:])]
    imsave(buffer := io.BytesIO(), np.vstack(rows), cmap="gray_r", vmin=0, vmax=1, metadata={})
    return buffer.getvalue()
