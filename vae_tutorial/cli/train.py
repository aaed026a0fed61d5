"""``train``: a folder with a model, its scores, and all that is needed to repeat or resume it."""

from __future__ import annotations

import os
import shlex
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from vae_tutorial import schedules, training
from vae_tutorial.cli import runs
from vae_tutorial.cli.data import SPLITS, facts, is_alignment, load
from vae_tutorial.cli.evaluate import scores, shown
from vae_tutorial.cli.settings import Train, to_json
from vae_tutorial.data import Dataset
from vae_tutorial.model import VAE
from vae_tutorial.objectives import evaluate_elbo
from vae_tutorial.support import files
from vae_tutorial.support.devices import machine
from vae_tutorial.training.processes import workers

# what goes under its own name
TO_MODEL = ("latent_dim", "hidden", "posterior", "prior", "activation", "variance", "seed")
TO_FIT = (
    "epochs", "steps", "batch_size", "objective", "num_samples", "optimizer", "learning_rate",
    "seed", "precision", "compile",
)  # fmt: skip


def run(settings: Train) -> str:
    """Trains as the settings say, or goes on with a run that was stopped, and writes the folder
    ``settings.out``. Of several processes that torchrun started, each trains its share; the first
    one writes, and the others have nothing to say."""
    settings = _settled(settings)
    with workers() as group:
        dataset = load(settings.data, settings.pixels, settings.data_seed)
        model, checkpoint = build(settings, dataset), runs.Claim(settings)
        history = _fit(settings, model, dataset, checkpoint=checkpoint, workers=group)
        work = _work(history, checkpoint, len(dataset.train))
        if not group.first:
            return ""
        seen = {split: dataset.seen(split) for split in SPLITS}
        results = {
            "unit": runs.UNIT,
            **{split: scores(evaluate_elbo(model, x, rng=0)) for split, x in seen.items()},
            "data": facts(dataset),
            "parameters": sum(p.numel() for p in model.parameters()),
            "training": work,
            **machine(model.device),
            "processes": group.count,
            "settings": to_json(settings),
        }
        training.save_model(model, settings.out / runs.MODEL)
        history.save(settings.out / runs.HISTORY)
        files.write_json(settings.out / runs.RESULTS, results)
        return _report(results, settings.out)


def _report(results: dict[str, Any], out: Path) -> str:
    """The scores of a run, and what to do with it."""
    work, data, folder = results["training"], results["data"], shlex.quote(str(out))
    lines = [f"{split} ({data[split]:,}): {shown(results[split])}" for split in SPLITS]
    lines += [
        "in nats per example, with standard errors; a higher ELBO is better",
        f"{work['steps']:,} steps ({work['epochs']:g} epochs) of {data['name']}, "
        f"{work['seconds']:.1f} s, {work['examples_per_second']:,.0f} examples/s",
        f"everything is in {folder}; next: vae-tutorial evaluate {folder}",
    ]
    return "\n".join(lines)


def _settled(settings: Train) -> Train:
    """The settings as they are kept: an alignment by its whole path, to be found from any folder;
    and a run that torchrun starts again goes on, though its first start was to overwrite."""
    if is_alignment(settings.data):
        settings = replace(settings, data=str(Path(settings.data).resolve()))
    again = int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0
    return replace(settings, overwrite=settings.overwrite and not again)


def build(settings: Train, dataset: Dataset) -> VAE:
    """The model that the settings describe, for these data."""
    likelihood: str = settings.likelihood
    letters = len(dataset.alphabet or "") or None
    if likelihood == "auto":
        images = "gaussian_shared" if dataset.pixels == "grey" else "bernoulli"
        likelihood = "categorical" if letters else images
    if (likelihood == "categorical") != bool(letters):
        fitting = "categorical" if letters else "bernoulli or a gaussian one"
        raise ValueError(f"likelihood must be {fitting} for these data, not {likelihood!r}")
    same = {name: getattr(settings, name) for name in TO_MODEL}
    return VAE.mlp(dataset.dim, **same, likelihood=likelihood, letters=letters)


def _fit(settings: Train, model: VAE, dataset: Dataset, **around: Any) -> training.History:
    around |= {name: getattr(settings, name) for name in TO_FIT} | {"beta": settings.beta}
    if settings.warmup:
        around["beta"] = schedules.linear_warmup(settings.warmup, end=settings.beta)
    try:
        return training.fit(model, dataset, **around, progress=not settings.quiet)
    except training.DivergenceError as error:
        kept = settings.out / runs.LAST_GOOD
        if around["workers"].first:
            training.save_model(model, kept)
        raise training.DivergenceError(f"{error} (that state is {kept})") from error


def _work(history: training.History, checkpoint: runs.Claim, examples: int) -> dict[str, Any]:
    """How much was trained, all in all and by this command, checkpoints and all."""
    seconds, steps = time.perf_counter() - checkpoint.began, history.step[-1]
    epochs, new = (n / (history.steps_per_epoch or 1) for n in (steps, steps - checkpoint.resumed))
    return {
        "steps": steps,
        "epochs": epochs,
        "resumed_after_step": checkpoint.resumed,
        "seconds": round(seconds, 3),
        "examples_per_second": round(new * examples / seconds, 1),
    }
