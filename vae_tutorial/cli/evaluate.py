"""``evaluate``: what a trained model is worth on examples that it has not seen."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch

from vae_tutorial import evaluation
from vae_tutorial.cli import runs
from vae_tutorial.cli.data import facts, load
from vae_tutorial.cli.settings import Evaluate, Train, to_json
from vae_tutorial.objectives import Elbo, evaluate_elbo
from vae_tutorial.randomness import as_generator
from vae_tutorial.support import files
from vae_tutorial.support.devices import machine


def run(settings: Evaluate) -> str:
    """Scores a model on one split of its data, or of other data: the ELBO and the active units of
    all examples, log p(x) of ``limit`` ones, beside the ELBO of the same."""
    began, num_samples, seed = time.perf_counter(), settings.num_samples, settings.seed
    model, path = runs.find_model(settings.model)
    folder = path.parent if path else None
    out = _place(settings.out or (folder or Path()) / runs.EVALUATION, path)
    dataset = load(*_data_of(settings, folder))
    x = model.check_data(dataset.seen(settings.split))
    chosen = _choice(len(x), settings.limit, seed).to(x.device)
    terms = evaluate_elbo(model, x, rng=seed)
    found = evaluation.log_evidence(model, x[chosen], num_samples=num_samples, rng=seed)
    active = evaluation.active_units(model, x)
    log_evidence = {
        **_mean(found.value),
        "standard_error_of_sampling": float(found.standard_error.norm() / len(chosen)),
        "examples": len(chosen),
        "samples_of_z": num_samples,
        "share_trusted": float(found.trusted.double().mean()),
        "elbo_of_these_examples": _mean(terms.value[chosen]),
    }
    variances = [round(float(a), 6) for a in active.activity]
    units = {"count": active.count, "threshold": active.threshold, "variances": variances}
    results = {
        "unit": runs.UNIT,
        "split": settings.split,
        "examples": len(x),
        **scores(terms),
        "log_evidence": log_evidence,
        "active_units": units,
        "data": facts(dataset),
        "seconds": round(time.perf_counter() - began, 3),
        **machine(model.device),
        "settings": to_json(settings),
    }
    files.write_json(out, results)
    return _report(results, out)


def _report(results: dict[str, Any], out: Path) -> str:
    """The scores of a model."""
    found, units, data = (results[name] for name in ("log_evidence", "active_units", "data"))
    all_ = {name: results[name] for name in ("elbo", "reconstruction", "kl")}
    some = {"log p(x)": found, "their elbo": found["elbo_of_these_examples"]}
    more = "" if found["share_trusted"] > 0.9 else ", else likely higher: try more --num-samples"
    return f"""{data["name"]}, {results["split"]} ({results["examples"]:,}): {shown(all_)}
{found["examples"]:,} of them, {found["samples_of_z"]:,} samples of z each: {shown(some)}
trusted for {found["share_trusted"]:.0%} of these{more}
active units: {units["count"]} of {len(units["variances"])}
in nats per example, with standard errors; everything is in {out}"""


def scores(terms: Elbo) -> dict[str, dict[str, float]]:
    """The ELBO and its two terms; the noise of z is part of their standard errors."""
    values = {"elbo": terms.value, "reconstruction": terms.reconstruction, "kl": terms.kl}
    return {name: _mean(value) for name, value in values.items()}


def shown(scores: dict[str, dict[str, float]]) -> str:
    """Scores as a person reads them."""
    numbers = {k: f"{v['mean']:.2f} ± {v['standard_error']:.2f}" for k, v in scores.items()}
    return ", ".join(f"{name} {number}" for name, number in numbers.items())


def _mean(values: torch.Tensor) -> dict[str, float]:
    """The mean over the examples and its standard error, sd / √N."""
    error = values.double().std() / len(values) ** 0.5
    return {"mean": float(values.double().mean()), "standard_error": float(error)}


def _place(out: Path, model: Path | None) -> Path:
    """Where the result goes: a file that can be written, and none that a training wrote."""
    same = model is not None and out.exists() and out.samefile(model)
    if same or out.resolve().name in runs.TRAINED:
        raise ValueError(f"out must be no file that training wrote, not {out}; name another")
    return files.writable(out)


def _data_of(settings: Evaluate, folder: Path | None) -> tuple[str, str, int]:
    """Name, pixels and seed of the data: those of the settings, else those of the training."""
    known = folder is not None and (folder / runs.SETTINGS).exists()
    if settings.data is None and not known:
        raise ValueError(f"nothing beside the model {settings.model} names its data: give --data")
    before = runs.settings_of(folder) if folder and known else Train()
    same = settings.data in (None, before.data)
    pixels = settings.pixels or (before.pixels if same else "auto")
    seed = before.data_seed if settings.data_seed is None else settings.data_seed
    return settings.data or before.data, pixels, seed


def _choice(count: int, limit: int, seed: int) -> torch.Tensor:
    """Which examples to estimate log p(x) for: the first ones of a file may be easier than the
    others, as those of MNIST's test images are."""
    if limit < 0 or limit == 1:
        raise ValueError(f"limit must be 0 for all examples, or at least 2, not {limit}")
    order = torch.randperm(count, generator=as_generator(seed))
    return order[: limit or count].sort().values
