"""A run is a folder: which files it has, who may write them, and what they say."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

import vae_tutorial
from vae_tutorial.book import pretrained
from vae_tutorial.cli.settings import Train, differences, from_json, to_json
from vae_tutorial.model import VAE
from vae_tutorial.support import files
from vae_tutorial.support.devices import default_device
from vae_tutorial.training.checkpoint import read
from vae_tutorial.training.saving import load_model

MODEL, CHECKPOINT = "model.safetensors", "checkpoint.safetensors"
RESULTS, HISTORY, SETTINGS = "results.json", "history.json", "settings.json"
LAST_GOOD, EVALUATION = "last_good.safetensors", "evaluation.json"
KEPT = (MODEL, CHECKPOINT, RESULTS, HISTORY, SETTINGS)
UNIT = "nats per example, summed over its dimensions; higher is better for all but kl"


class BrokenFileError(OSError):
    """A file is there and does not hold what it should."""


@contextmanager
def reading() -> Iterator[None]:
    """What a reader of files refuses is the files' fault, not that of the settings."""
    try:
        yield
    except ValueError as error:
        raise BrokenFileError(str(error)) from error


def device(name: str | None) -> torch.device:
    """The device of that name, or the default one.

    Raises:
        ValueError: it is unknown, or not here.
    """
    if name is None:
        return default_device()
    try:
        found = torch.device(name)
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"device {name!r} cannot be used ({reason}); give cpu or cuda, or leave it out"
        ) from error
    return found


def refuse(settings: Train, total: int) -> None:
    """Refuses to train ``total`` steps in a folder that holds another run, or more of this one.

    Raises:
        ValueError: with what is there, and what would do.
    """
    folder, anew = settings.out, "name another --out, or start anew with --overwrite"
    if settings.overwrite:
        return
    if not (folder / SETTINGS).exists():
        foreign = [name for name in KEPT if (folder / name).exists()]
        if foreign:
            raise ValueError(
                f"{folder} holds {foreign[0]} without the {SETTINGS} of a run; {anew}"
            )
        return
    before = settings_of(folder)
    if other := differences(before, settings):
        theirs = ", ".join(f"{name} {getattr(before, name)!r}" for name in other)
        ours = ", ".join(repr(getattr(settings, name)) for name in other)
        raise ValueError(f"{folder} holds a run with {theirs}, not {ours}; {anew}")
    done, finished = steps_done(folder), _finished(folder)
    if done > total:
        raise ValueError(f"{folder} has already {done} steps, more than {total}; {anew}")
    if finished == total or (finished is not None and done == 0):
        raise ValueError(
            f"{folder} holds this run, finished after {finished} steps; train it further with "
            f"more --epochs or --steps, {anew}"
        )


def claim(settings: Train) -> None:
    """Writes down what the folder is for, before hours of work; clears it if it is to start anew.

    Raises:
        OSError: the place cannot be written.
    """
    text = to_json(settings).encode()
    files.writable(settings.out / SETTINGS)
    if settings.overwrite:
        for name in (*KEPT, LAST_GOOD, EVALUATION):
            (settings.out / name).unlink(missing_ok=True)
    files.write(settings.out / SETTINGS, text)


def steps_done(folder: Path) -> int:
    """The steps of the run's last checkpoint; 0 without one.

    Raises:
        OSError: the checkpoint is broken.
    """
    path = folder / CHECKPOINT
    with reading():
        return int(read(path)[1]["step"]) if path.exists() else 0


def results_of(folder: Path) -> dict[str, Any] | None:
    """What ``train`` wrote beside a model; None where it wrote nothing.

    Raises:
        OSError: the file is broken.
    """
    path = folder / RESULTS
    if not path.is_file():
        return None
    try:
        results: dict[str, Any] = dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise BrokenFileError(
            f"{path} is not what training wrote ({error}); remove it, or start the run anew"
        ) from error
    return results


def _finished(folder: Path) -> int | None:
    results = results_of(folder)
    return None if results is None else int(results.get("training", {}).get("steps", 0))


def settings_of(run: Path) -> Train:
    """The settings of a run: of its folder, or its settings.json.

    Raises:
        OSError: they are missing or broken.
    """
    path = run / SETTINGS if run.is_dir() else run
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; name the folder of a run or its {SETTINGS}")
    try:
        return from_json(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise BrokenFileError(f"{path} cannot be used: {error}") from error


def find_model(model: Path, device: torch.device) -> tuple[VAE, Path | None]:
    """A model and the folder that it stands in, None for one that ships with the package.

    Raises:
        OSError: there is none, or its file is broken.
    """
    if not model.exists() and str(model) in pretrained.names():
        return pretrained.load(str(model), device), None
    path = model / MODEL if model.is_dir() else model
    if not path.exists():
        shipped = ", ".join(pretrained.names())
        done = "; the run has not finished" if (path.parent / SETTINGS).exists() else ""
        raise FileNotFoundError(
            f"there is no model file {path}{done}: name the folder of a finished run, a model "
            f"file, or a model that ships with the package ({shipped})"
        )
    with reading():
        return load_model(path, device), path.parent


def write_json(path: Path, results: dict[str, Any]) -> None:
    """Writes results, whole or not at all.

    Raises:
        OSError: the disk is full or the place cannot be written.
    """
    files.write(path, (json.dumps(results, indent=1, ensure_ascii=False) + "\n").encode())


def machine(device: torch.device, processes: int = 1) -> dict[str, Any]:
    """What computed a result."""
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
    else:
        name = f"{_processor()}, {torch.get_num_threads()} threads"
    return {"device": device.type, "hardware": name, "processes": processes}


def versions() -> dict[str, str]:
    """The versions that computed a result."""
    return {
        "vae_tutorial": vae_tutorial.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
