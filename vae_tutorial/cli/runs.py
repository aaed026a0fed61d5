"""A run is a folder: which files it has, who may write them, and what they say."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from vae_tutorial.book import pretrained
from vae_tutorial.cli.settings import Train, differences, from_json, to_json
from vae_tutorial.model import VAE
from vae_tutorial.support import files
from vae_tutorial.support.devices import default_device
from vae_tutorial.training import Checkpoint, load_model
from vae_tutorial.training.checkpoint import read
from vae_tutorial.training.loop import total_steps
from vae_tutorial.training.state import State

MODEL, CHECKPOINT = "model.safetensors", "checkpoint.safetensors"
RESULTS, HISTORY, SETTINGS = "results.json", "history.json", "settings.json"
LAST_GOOD, EVALUATION = "last_good.safetensors", "evaluation.json"
UNIT = "nats per example, summed over its dimensions; higher is better for all but kl"
TRAINED = (MODEL, CHECKPOINT, RESULTS, HISTORY, SETTINGS, LAST_GOOD)


class Claim(Checkpoint):
    """The checkpoint of a run. Its folder is claimed before the first step, and not before ``fit``
    has found nothing to refuse, so that a corrected command finds it free."""

    def __init__(self, settings: Train) -> None:
        super().__init__(settings.out / CHECKPOINT, settings.checkpoint_every)
        self.settings = settings

    def restore(self, state: State) -> bool:
        length = self.settings.epochs, self.settings.steps
        _refuse(self.settings, total_steps(*length, state.batches.steps_per_epoch))
        if state.workers.first:
            files.writable(self.settings.out / SETTINGS)
            for name in (*TRAINED, EVALUATION) if self.settings.overwrite else ():
                (self.settings.out / name).unlink(missing_ok=True)
            files.write_json(self.settings.out / SETTINGS, to_json(self.settings))
        state.workers.total(torch.zeros(1, device=state.model.device))  # all wait for the folder
        found = super().restore(state)
        self.resumed, self.began = state.step, time.perf_counter()
        return found


def _refuse(settings: Train, total: int | None) -> None:
    """Refuses to train ``total`` steps in a folder that holds another run, or more of this one."""
    folder, anew = settings.out, "name another --out, or start anew with --overwrite"
    present = [name for name in TRAINED if (folder / name).exists()]
    if settings.overwrite or not present:
        return
    if SETTINGS not in present:
        raise ValueError(f"{folder} holds {present[0]} without the {SETTINGS} of a run; {anew}")
    before = settings_of(folder)
    if other := differences(before, settings):
        theirs = ", ".join(f"{name} {getattr(before, name)!r}" for name in other)
        ours = ", ".join(repr(getattr(settings, name)) for name in other)
        raise ValueError(f"{folder} holds a run with {theirs}, not {ours}; {anew}")
    done = int(read(folder / CHECKPOINT)[1]["step"]) if CHECKPOINT in present else 0
    finished = results_of(folder).get("training", {}).get("steps")
    if total is not None and done > total:
        raise ValueError(f"{folder} has already {done} steps, more than {total}; {anew}")
    if finished is not None and (finished == total or done == 0):
        raise ValueError(
            f"{folder} holds this run, finished after {finished} steps; train it further with "
            f"more --epochs or --steps, {anew}"
        )


def settings_of(run: Path) -> Train:
    """The settings of a run: of its folder, or its settings.json."""
    path = run / SETTINGS if run.is_dir() else run
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; name the folder of a run or its {SETTINGS}")
    return _read(path, from_json)


def results_of(folder: Path) -> dict[str, Any]:
    """What ``train`` wrote beside a model; nothing where it wrote nothing."""
    return _read(folder / RESULTS, dict) if (folder / RESULTS).is_file() else {}


def _read(path: Path, make: Callable[[dict[str, Any]], Any]) -> Any:
    try:
        return make({**json.loads(path.read_text(encoding="utf-8"))})
    except (ValueError, TypeError) as error:
        raise files.BrokenFileError(f"{path} is not what training writes ({error})") from error


def find_model(model: Path) -> tuple[VAE, Path | None]:
    """A model and the file that it is in, None for one that ships with the package."""
    if not model.exists() and str(model) in pretrained.names():
        return pretrained.load(str(model), default_device()), None
    path = model / MODEL if model.is_dir() else model
    if path.exists():
        return load_model(path, default_device()), path
    done = "; the run has not finished" if (path.parent / SETTINGS).exists() else ""
    raise FileNotFoundError(
        f"there is no model file {path}{done}: name the folder of a finished run, a model file, "
        f"or a model that ships with the package ({', '.join(pretrained.names())})"
    )
