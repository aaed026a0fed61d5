"""``evaluate``: what a trained model is worth on examples that it has not seen."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from vae_tutorial import evaluation
from vae_tutorial.cli.commands import examples, runs
from vae_tutorial.cli.commands.scores import elbo_terms, mean
from vae_tutorial.cli.settings import Evaluate, Train
from vae_tutorial.randomness import as_generator
from vae_tutorial.support import files


def evaluate(settings: Evaluate) -> dict[str, Any]:
    """Scores a model on one split of its data, or of the data that the settings name, and writes
    the result as evaluation.json beside the model.

    The ELBO, its terms and the active units are those of the whole split, log p(x) that of
    ``limit`` examples, beside the ELBO of the same ones.

    Raises:
        ValueError: data that this model cannot explain, or none are named.
        OSError: files are missing or broken, or the result cannot be written.
    """
    began = time.perf_counter()
    device = runs.device(settings.device)
    model, folder = runs.find_model(settings.model, device)
    data = examples.load(*_data_of(settings, folder), device)
    out = settings.out or (folder or Path()) / runs.EVALUATION
    x = model.check_data(data.scored(settings.split))
    chosen = _choice(len(x), settings.limit, settings.seed).to(device)
    files.writable(out)
    reconstruction, kl = elbo_terms(model, x, settings.seed)
    found = evaluation.log_evidence(model, x[chosen], settings.num_samples, settings.seed)
    active = evaluation.active_units(model, x)
    sampling = found.standard_error.square().sum().sqrt() / len(chosen)
    results = {
        "unit": runs.UNIT,
        "split": settings.split,
        "examples": len(x),
        "elbo": mean(reconstruction - kl),
        "reconstruction": mean(reconstruction),
        "kl": mean(kl),
        "log_evidence": {
            **mean(found.value),
            "standard_error_of_sampling": float(sampling),
            "examples": len(chosen),
            "samples_of_z": settings.num_samples,
            "share_trusted": float(found.trusted.double().mean()),
            "elbo_of_these_examples": mean((reconstruction - kl)[chosen]),
        },
        "active_units": {
            "count": active.count,
            "of": model.latent_dim,
            "threshold": active.threshold,
            "variances": [round(float(a), 6) for a in active.activity],
        },
        "data": data.facts(),
        "seconds": round(time.perf_counter() - began, 3),
        **runs.machine(device),
        "versions": runs.versions(),
        "settings": {k: str(v) if isinstance(v, Path) else v for k, v in asdict(settings).items()},
    }
    runs.write_json(out, results)
    return {**results, "file": str(out)}


def _data_of(settings: Evaluate, folder: Path | None) -> tuple[str, str, int]:
    """Name, pixels and seed of the data: those of the settings, else those of the training."""
    known = folder is not None and (folder / runs.SETTINGS).exists()
    if settings.data is None and not known:
        raise ValueError(
            f"nothing beside the model {settings.model} says what data it was trained on; "
            f"name them with --data"
        )
    before = runs.settings_of(folder) if known and folder is not None else Train()
    same = settings.data in (None, before.data)
    pixels = settings.pixels or (before.pixels if same else "auto")
    seed = before.data_seed if settings.data_seed is None else settings.data_seed
    return settings.data or before.data, pixels, seed


def _choice(count: int, limit: int, seed: int) -> torch.Tensor:
    """Which examples to estimate log p(x) for: the first ones of a file may be easier than the
    others, as those of MNIST's test images are."""
    if limit == 0 or limit >= count:
        return torch.arange(count)
    return torch.randperm(count, generator=as_generator(seed))[:limit].sort().values
