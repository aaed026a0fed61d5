"""``train``: a folder with a model, its scores, and all that is needed to repeat or resume it."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from vae_tutorial import schedules, training
from vae_tutorial.cli.commands import examples, runs
from vae_tutorial.cli.commands.examples import SPLITS, Examples
from vae_tutorial.cli.commands.scores import elbo_scores
from vae_tutorial.cli.settings import Train, to_json
from vae_tutorial.data import is_alignment
from vae_tutorial.model import VAE
from vae_tutorial.training.batches import batches_of
from vae_tutorial.training.checkpoint import Checkpoint
from vae_tutorial.training.history import History
from vae_tutorial.training.processes import Workers, workers
from vae_tutorial.training.saving import save_model

EPOCHS = 30  # where the settings say neither epochs nor steps


def train(settings: Train) -> dict[str, Any]:
    """Trains as the settings say, or goes on with a run that was stopped, and writes the folder
    ``settings.out``. Returns what results.json holds.

    Among processes that torchrun started, each trains its share; the first one writes, and the
    others return nothing.

    Raises:
        ValueError: settings that contradict each other, the data, or a run in the same folder.
        DivergenceError: a number became NaN or infinite; last_good.safetensors keeps the model
            from before.
        OSError: files are missing or broken, the disk is full, or the place cannot be written.
        WorkerLostError: another process of the run died.
    """
    settings = _settled(settings)
    with _on(settings.device), workers() as group:
        device = runs.device(settings.device)
        data = examples.load(settings.data, settings.pixels, settings.data_seed, device)
        model = build(settings, data)
        per_epoch = -(-len(data.fitted.train) // settings.batch_size)
        total = settings.steps or (settings.epochs or EPOCHS) * per_epoch
        batches_of(model, data.fitted, settings.batch_size, settings.seed, data.transform)
        runs.refuse(settings, total)
        first = group is None or group.first
        if first:
            runs.claim(settings)
        if group is not None:  # nobody reads the folder before it is ready
            group.total(torch.zeros(1, device=device))
        began, resumed = time.perf_counter(), runs.steps_done(settings.out)
        history = _fit(settings, model, data, group)
        seconds = time.perf_counter() - began
        if not first:
            return {}
        results: dict[str, Any] = {
            "model": runs.MODEL,
            "unit": runs.UNIT,
            **{split: elbo_scores(model, data.scored(split)) for split in SPLITS},
            "data": data.facts(),
            "parameters": sum(p.numel() for p in model.parameters()),
            "training": _work(settings, data, history, resumed, seconds),
            **runs.machine(device, 1 if group is None else group.count),
            "versions": runs.versions(),
            "settings": json.loads(to_json(settings)),
        }
        save_model(model, settings.out / runs.MODEL)
        history.save(settings.out / runs.HISTORY)
        runs.write_json(settings.out / runs.RESULTS, results)
        return results


def _settled(settings: Train) -> Train:
    """The settings as they are kept: an alignment by its whole path, so that the run can be
    evaluated from any folder; and a run that torchrun starts again goes on, also where its first
    start was to overwrite another one."""
    if is_alignment(settings.data):
        settings = replace(settings, data=str(Path(settings.data).resolve()))
    again = int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0
    return replace(settings, overwrite=settings.overwrite and not again)


def build(settings: Train, data: Examples) -> VAE:
    """The model that the settings describe, for these data.

    Raises:
        ValueError: a decoder that has no use for these data.
    """
    decoder, letters = settings.decoder, data.letters
    if decoder == "auto":
        grey = data.pixels == "grey"
        decoder = "categorical" if letters else "gaussian_shared" if grey else "bernoulli"
    if (decoder == "categorical") != bool(letters):
        fitting = "categorical" if letters else "bernoulli or a gaussian one"
        raise ValueError(
            f"decoder must be {fitting} for the data {settings.data!r}, not {decoder!r}; "
            f"'auto' chooses it"
        )
    return VAE.mlp(
        data.fixed.dim,
        settings.latent_dim,
        settings.hidden,
        decoder,
        settings.variance,
        settings.seed,
        runs.device(settings.device),
        activation=settings.activation,
        posterior=settings.posterior,
        prior=settings.prior,
        letters=letters,
    )


def _fit(settings: Train, model: VAE, data: Examples, group: Workers | None) -> History:
    beta: float | schedules.Schedule = settings.beta
    if settings.warmup:
        beta = schedules.linear_warmup(settings.warmup, end=settings.beta)
    try:
        return training.fit(
            model,
            data.fitted,
            epochs=None if settings.steps else settings.epochs or EPOCHS,
            steps=settings.steps,
            batch_size=settings.batch_size,
            objective=settings.objective,
            num_samples=settings.num_samples,
            beta=beta,
            optimizer=settings.optimizer,
            learning_rate=settings.learning_rate,
            seed=settings.seed,
            transform=data.transform,
            checkpoint=Checkpoint(settings.out / runs.CHECKPOINT, settings.checkpoint_every),
            precision=settings.precision,
            compile=settings.compile,
            workers=group,
            progress=not settings.quiet,
        )
    except training.DivergenceError as error:
        if group is None or group.first:
            save_model(model, settings.out / runs.LAST_GOOD)
        raise training.DivergenceError(
            f"{error} (that state is {settings.out / runs.LAST_GOOD})"
        ) from error


def _work(
    settings: Train, data: Examples, history: History, resumed: int, seconds: float
) -> dict[str, Any]:
    """How much was trained, all in all and by this command."""
    steps, per_epoch, size = history.step[-1], history.steps_per_epoch or 1, settings.batch_size
    examples_in_epoch = len(data.fitted.train)

    def seen(step: int) -> int:
        epochs, within = divmod(step, per_epoch)
        return epochs * examples_in_epoch + min(within * size, examples_in_epoch)

    images = seen(steps) - seen(resumed)
    return {
        "steps": steps,
        "epochs": steps / per_epoch,
        "resumed_after_step": resumed,
        "seconds": round(seconds, 3),
        "examples_per_second": round(images / seconds, 1),
        "timed": "this command's steps, its scores of held-out examples, and its checkpoints",
    }


@contextmanager
def _on(device: str | None) -> Iterator[None]:
    """Lets the processes of torchrun talk over the device that the settings name."""
    before = os.environ.get("VAE_TUTORIAL_DEVICE")
    if device is not None:
        os.environ["VAE_TUTORIAL_DEVICE"] = device
    try:
        yield
    finally:
        if device is not None:
            os.environ.pop("VAE_TUTORIAL_DEVICE")
        if device is not None and before is not None:
            os.environ["VAE_TUTORIAL_DEVICE"] = before
