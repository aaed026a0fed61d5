"""The commands: functions from settings to what they found out. They print nothing."""

from __future__ import annotations

import json
import platform
import time
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vae_tutorial import (
    _door,
    _files,
    annealing,
    data,
    distributed,
    evaluation,
    objectives,
    sources,
    training,
)
from vae_tutorial.batches import Transform
from vae_tutorial.checkpoint import Checkpoint
from vae_tutorial.data import Dataset
from vae_tutorial.distributions import draw
from vae_tutorial.model import VAE
from vae_tutorial.runtime import as_generator, default_device
from vae_tutorial.settings import Evaluate, Sample, Train, differences, from_json, to_json
from vae_tutorial.storage import load_model, save_model

PIXELS = {"static": "binary", "dynamic": "grey", "threshold": "threshold", "grey": "grey"}
UNIT = "nats per example, summed over its dimensions; higher is better for all but kl"
MODEL, CHECKPOINT = "model.safetensors", "checkpoint.safetensors"


def train(settings: Train) -> dict[str, Any]:
    """Trains as the settings say and writes the run's folder; the results, as in results.json.

    Raises:
        ValueError: settings that contradict each other, the data, or a run in the same folder.
        DivergenceError, OSError, WorkerLostError: as ``fit`` and ``distributed.workers`` say.
    """
    with distributed.workers() as workers:
        first = workers is None or workers.first
        if first:
            _claim(settings)
        device = default_device() if settings.device is None else torch.device(settings.device)
        dataset, transform = _data(settings, device)
        model = _model(settings, dataset, device)
        began = time.perf_counter()
        history = training.fit(
            model,
            dataset,
            epochs=settings.epochs,
            steps=settings.steps,
            batch_size=settings.batch_size,
            objective=settings.objective,
            num_samples=settings.num_samples,
            beta=annealing.linear_warmup(settings.warmup, end=settings.beta)
            if settings.warmup
            else settings.beta,
            optimizer=settings.optimizer,
            learning_rate=settings.learning_rate,
            seed=settings.seed,
            transform=transform,
            checkpoint=Checkpoint(settings.out / CHECKPOINT, settings.checkpoint_every),
            precision=settings.precision,
            compile=settings.compile,
            workers=workers,
            progress=not settings.quiet,
        )
        test = transform(dataset.test.x, as_generator(0)) if transform else dataset.test.x
        with torch.no_grad():
            terms = objectives.elbo(model, test, rng=settings.seed).mean()
        results = {
            "model": MODEL,
            "data": repr(dataset),
            "unit": UNIT,
            "train_elbo": history.elbo[-1],
            "valid_elbo": history.valid_elbo[-1],
            "test_elbo": float(terms.value),
            "test_reconstruction": float(terms.reconstruction),
            "test_kl": float(terms.kl),
            "steps": history.step[-1],
            "epochs": history.epoch[-1],
            "seconds_of_this_command": round(time.perf_counter() - began, 2),
            "processes": workers.count if workers else 1,
            "hardware": _hardware(device),
            "versions": {name: version(name) for name in ("vae_tutorial", "torch")},
            "settings": json.loads(to_json(settings)),
        }
        if first:
            save_model(model, settings.out / MODEL)
            history.save(settings.out / "history.json")
            _write_json(settings.out / "results.json", results)
    return results


def evaluate(settings: Evaluate) -> dict[str, Any]:
    """Scores a model of ``train`` on its test data; also written as evaluation.json beside it.

    Raises:
        FileNotFoundError: there is no such model.
        ValueError: it has no settings.json beside it, or a number is too small.
    """
    model, run = _load(settings.model, settings.device)
    dataset, transform = _data(run, model.device)
    x = dataset.test.x[: settings.limit or None]
    x = transform(x, as_generator(0)) if transform else x
    with torch.no_grad():
        terms = objectives.elbo(model, x, 10, settings.seed)
    found = evaluation.log_evidence(model, x, settings.num_samples, settings.seed)
    active = evaluation.active_units(model, x)
    results = {
        "data": repr(dataset),
        "unit": UNIT,
        "test_examples": len(x),
        "elbo": _mean(terms.value),
        "kl": _mean(terms.kl),
        "log_evidence": _mean(found.value),
        "log_evidence_samples": settings.num_samples,
        "share_with_trusted_error": float(found.trusted.float().mean()),
        "active_units": active.count,
        "latent_dim": model.latent_dim,
    }
    _write_json(_folder(settings.model) / "evaluation.json", results)
    return results


def sample(settings: Sample) -> dict[str, Any]:
    """Draws examples from p(z) p(x|z) and writes them; where they are.

    Raises:
        ValueError: the file's ending does not suit the model.
        ModuleNotFoundError: a picture without matplotlib.
    """
    model, run = _load(settings.model, settings.device)
    rng = as_generator(settings.seed)
    dataset, _ = _data(run, model.device)
    with torch.no_grad():
        p = model.decode(draw(model.prior, (settings.num,), rng))
    kind = settings.out.suffix
    if kind == ".npz":
        drawn = draw(p, (), rng)
        _write_npz(settings.out, mean=p.mean.cpu().numpy(), draw=drawn.cpu().numpy())
    elif kind in (".fasta", ".fa") and dataset.alphabet:
        letters = draw(p, (), rng).unflatten(-1, (-1, len(dataset.alphabet))).argmax(-1).tolist()
        rows = ["".join(dataset.alphabet[i] for i in row) for row in letters]
        text = "".join(f">sample_{n}\n{row}\n" for n, row in enumerate(rows, 1))
        _files.write(settings.out, text.encode())
    elif kind == ".png" and dataset.image_shape:
        _write_png(settings.out, p.mean.cpu(), dataset.image_shape)
    else:
        allowed = ".fasta or .npz" if dataset.alphabet else ".png or .npz"
        raise ValueError(f"out must end in {allowed} for this model, not {kind!r}")
    return {"samples": settings.num, "file": str(settings.out)}


def describe(name: str = "") -> str:
    """One data set in a few lines, after it was found or fetched; all of them without a name.

    Raises:
        ValueError: an unknown name.
        FileNotFoundError: it is neither here nor could it be downloaded.
    """
    if not name:
        return "\n".join(f"{key:16} {source.title}" for key, source in sources.SOURCES.items())
    source = sources.SOURCES[_door.one_of("name", name, sources.SOURCES)]
    lines = [repr(data.load(name)), source.title, f"source: {source.citation}"]
    lines += [f"license: {source.license}"]
    return "\n".join([*lines, *(f"file: {f.place}  SHA-256 {f.sha256}" for f in source.files)])


def _claim(settings: Train) -> None:
    """Takes the folder for this run: for a new one, or to go on with the same one."""
    path, finished = settings.out / "settings.json", settings.out / "results.json"
    if settings.overwrite:
        for name in (MODEL, CHECKPOINT, "results.json", "history.json", "settings.json"):
            (settings.out / name).unlink(missing_ok=True)
    if path.exists():
        before = from_json(path.read_text())
        if other := differences(before, settings):
            given = ", ".join(
                f"{n} {getattr(before, n)!r}, not {getattr(settings, n)!r}" for n in other
            )
            raise ValueError(
                f"{settings.out} holds a run with {given}; give the settings of that run to go "
                f"on with it, another --out, or --overwrite"
            )
        length = (settings.epochs, settings.steps)
        if finished.exists() and (before.epochs, before.steps) == length:
            raise ValueError(
                f"{settings.out} holds this very run, finished; see results.json in it, give more "
                f"--epochs or --steps to train it further, or --overwrite"
            )
    _files.write(path, to_json(settings).encode())


def _data(settings: Train, device: torch.device) -> tuple[Dataset, Transform | None]:
    """The data set as the model sees it, and what each training batch goes through."""
    if data.is_alignment(settings.data):
        dataset = data.load_alignment(settings.data, seed=settings.seed).to(device)
        return dataset, dataset.one_hot
    if not data.has_pixels(settings.data):
        dataset = data.load(settings.data, seed=settings.seed, device=device)
        return dataset, dataset.one_hot if dataset.alphabet else None
    kind = PIXELS[settings.pixels]
    dataset = data.load(settings.data, pixels=kind, seed=settings.seed, device=device)
    if settings.pixels != "dynamic":
        return dataset, None
    # held-out examples are drawn once: a score that moves by itself is none
    fixed = data.load(settings.data, pixels="binary", seed=settings.seed, device=device)
    return replace(fixed, train=dataset.train), data.binarize


def _model(settings: Train, dataset: Dataset, device: torch.device) -> VAE:
    decoder = settings.decoder
    if decoder == "auto":
        grey = dataset.pixels == "grey"
        decoder = "categorical" if dataset.alphabet else "gaussian_shared" if grey else "bernoulli"
    return VAE.mlp(
        dataset.dim,
        settings.latent_dim,
        settings.hidden,
        decoder,
        seed=settings.seed,
        device=device,
        activation=settings.activation,
        posterior=settings.posterior,
        prior=settings.prior,
        letters=len(dataset.alphabet) if dataset.alphabet else None,
    )


def _folder(model: Path) -> Path:
    return model if model.is_dir() else model.parent


def _load(path: Path, device: str | None) -> tuple[VAE, Train]:
    settings = _folder(path) / "settings.json"
    model = load_model(path / MODEL if path.is_dir() else path, device)
    if not settings.is_file():
        raise ValueError(
            f"{settings} is missing: keep the model in its run's folder, which says what data it "
            f"was trained on"
        )
    return model, from_json(settings.read_text())


def _mean(values: Tensor) -> dict[str, float]:
    values = values.double()
    error = float(values.std() / len(values) ** 0.5) if len(values) > 1 else float("nan")
    return {"mean": float(values.mean()), "standard_error": error}


def _hardware(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{platform.machine()} CPU, {torch.get_num_threads()} threads"


def _write_json(path: Path, results: dict[str, Any]) -> None:
    _files.write(path, (json.dumps(results, indent=1, ensure_ascii=False) + "\n").encode())


def _write_npz(path: Path, **arrays: np.ndarray) -> None:
    import io

    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    _files.write(path, buffer.getvalue())


def _write_png(path: Path, images: Tensor, shape: tuple[int, int]) -> None:
    import io

    try:
        import matplotlib.image
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            "a picture needs matplotlib, which is not installed; pip install matplotlib, or give "
            "an --out that ends in .npz"
        ) from None
    columns = max(1, round(len(images) ** 0.5))
    rows = -(-len(images) // columns)
    height, width = shape
    sheet = torch.zeros(rows * columns, height, width)
    sheet[: len(images)] = images.view(-1, height, width).clamp(0, 1)
    mosaic = sheet.view(rows, columns, height, width).permute(0, 2, 1, 3)
    buffer = io.BytesIO()
    whole = mosaic.reshape(rows * height, columns * width).numpy()
    matplotlib.image.imsave(buffer, whole, cmap="gray", vmin=0, vmax=1, format="png")
    _files.write(path, buffer.getvalue())
