"""``train``: a folder with a model, its scores, and all that is needed to repeat or resume it."""

from __future__ import annotations

import json
import os
import shlex
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from vae_tutorial import schedules, training
from vae_tutorial.cli import runs, scores
from vae_tutorial.cli.data import SPLITS, facts, is_alignment, load
from vae_tutorial.cli.settings import Train, to_json
from vae_tutorial.data import Dataset
from vae_tutorial.model import VAE
from vae_tutorial.objectives import evaluate_elbo
from vae_tutorial.training import History
from vae_tutorial.training.processes import Workers, workers

OF_MODEL = ("latent_dim", "hidden", "posterior", "prior", "activation", "variance", "seed")
OF_FIT = (
    "epochs", "steps", "batch_size", "objective", "num_samples", "optimizer", "learning_rate",
    "seed", "precision", "compile",
)  # fmt: skip


def run(settings: Train) -> dict[str, Any]:
    """Trains as the settings say, or goes on with a run that was stopped, and writes the folder
    ``settings.out``. Returns what results.json holds.

    Among processes that torchrun started, each trains its share; the first one writes, and the
    others return nothing.
    """
    settings = _settled(settings)
    with workers() as group:
        dataset = load(settings.data, settings.pixels, settings.data_seed)
        model, checkpoint = build(settings, dataset), runs.Claim(settings)
        history = _fit(settings, model, dataset, checkpoint, group)
        work = _work(history, checkpoint, len(dataset.train))
        if not group.first:
            return {}
        elbos = {split: evaluate_elbo(model, dataset.seen(split), rng=0) for split in SPLITS}
        results = {
            "model": runs.MODEL,
            "unit": scores.UNIT,
            **{split: scores.of_elbo(terms) for split, terms in elbos.items()},
            "data": facts(dataset),
            "parameters": sum(p.numel() for p in model.parameters()),
            "training": work,
            **scores.made_by(model.device, group.count),
            "settings": json.loads(to_json(settings)),
        }
        training.save_model(model, settings.out / runs.MODEL)
        history.save(settings.out / runs.HISTORY)
        runs.write_json(settings.out / runs.RESULTS, results)
        return results


def report(results: dict[str, Any]) -> str:
    """The scores of a run, and what to do with it."""
    work, data = results["training"], results["data"]
    folder = shlex.quote(results["settings"]["out"])
    lines = [f"{'':16}{'ELBO':>20}{'reconstruction':>20}{'KL':>18}"]
    for split in SPLITS:
        elbo, reconstruction, kl = map(scores.shown, results[split].values())
        size = f"{split} ({data[split]:,})"
        lines.append(f"{size:16}{elbo:>20}{reconstruction:>20}{kl:>18}")
    lines += [
        "in nats per example, with standard errors; a higher ELBO is better",
        f"{work['steps']:,} steps ({work['epochs']:g} epochs) of {data['name']}, "
        f"{work['seconds']:.1f} s, {work['examples_per_second']:,.0f} examples/s",
        f"everything is in {folder}; next:",
        f"  vae-tutorial evaluate {folder}",
        f"  vae-tutorial sample {folder} --out samples.{'fasta' if data['alphabet'] else 'png'}",
    ]
    return "\n".join(lines)


def _settled(settings: Train) -> Train:
    """The settings as they are kept: an alignment by its whole path, so that the run can be
    evaluated from any folder; and a run that torchrun starts again goes on, also where its first
    start was to overwrite another one."""
    if is_alignment(settings.data):
        settings = replace(settings, data=str(Path(settings.data).resolve()))
    again = int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0
    return replace(settings, overwrite=settings.overwrite and not again)


def build(settings: Train, dataset: Dataset) -> VAE:
    """The model that the settings describe, for these data."""
    likelihood, letters = settings.likelihood, len(dataset.alphabet or "") or None
    if likelihood == "auto":
        images = "gaussian_shared" if dataset.pixels == "grey" else "bernoulli"
        likelihood = "categorical" if letters else images
    if (likelihood == "categorical") != bool(letters):
        fitting = "categorical" if letters else "bernoulli or a gaussian one"
        raise ValueError(
            f"likelihood must be {fitting} for the data {settings.data!r}, not {likelihood!r}; "
            f"'auto' chooses it"
        )
    same = {name: getattr(settings, name) for name in OF_MODEL}
    return VAE.mlp(dataset.dim, **same, likelihood=likelihood, letters=letters)


def _fit(
    settings: Train, model: VAE, dataset: Dataset, checkpoint: runs.Claim, group: Workers
) -> History:
    same = {name: getattr(settings, name) for name in OF_FIT}
    beta: float | schedules.Schedule = settings.beta
    if settings.warmup:
        beta = schedules.linear_warmup(settings.warmup, end=settings.beta)
    quiet, kept = settings.quiet, settings.out / runs.LAST_GOOD
    run: dict[str, Any] = {"checkpoint": checkpoint, "workers": group, "progress": not quiet}
    try:
        return training.fit(model, dataset, **same, beta=beta, **run)
    except training.DivergenceError as error:
        if group.first:
            training.save_model(model, kept)
        raise training.DivergenceError(f"{error} (that state is {kept})") from error


def _work(history: History, checkpoint: runs.Claim, examples: int) -> dict[str, Any]:
    """How much was trained, all in all and by this command."""
    seconds, steps = time.perf_counter() - checkpoint.began, history.step[-1]
    per_epoch = history.steps_per_epoch or 1
    seen = (steps - checkpoint.resumed) / per_epoch * examples
    return {
        "steps": steps,
        "epochs": steps / per_epoch,
        "resumed_after_step": checkpoint.resumed,
        "seconds": round(seconds, 3),
        "examples_per_second": round(seen / seconds, 1),
        "timed": "this command's steps, its scores of held-out examples, and its checkpoints",
    }
