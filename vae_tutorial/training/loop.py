"""Training: one loop, on one screen. What surrounds it stands beside it: where batches come from
(``batches``), what a step minimizes (``loss``), what a run consists of (``state``), how it is kept
(``checkpoint``) and how several processes share it (``distributed``)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from vae_tutorial.data import Dataset
from vae_tutorial.model import VAE
from vae_tutorial.objectives import elbo_terms
from vae_tutorial.randomness import as_generator, standard_normal
from vae_tutorial.schedules import Schedule, constant
from vae_tutorial.support import inputs
from vae_tutorial.support.devices import keep_freed_memory
from vae_tutorial.training.batches import Transform, batches_of
from vae_tutorial.training.checkpoint import Checkpoint
from vae_tutorial.training.history import History
from vae_tutorial.training.processes import Workers
from vae_tutorial.training.progress import Progress
from vae_tutorial.training.state import DivergenceError, State
from vae_tutorial.training.step import Loss, Objective, check_objective, prepared

__all__ = ["DivergenceError", "History", "fit"]

Callback = Callable[[VAE, History], "bool | None"]
OptimizerMaker = Callable[[Iterable[torch.nn.Parameter]], Optimizer]
OPTIMIZERS = ("adam", "adagrad")
CHECK = 100  # steps between two looks for numbers that are not finite, or subnormal
RECORD_STREAM = 100  # steps between two records of a stream


def fit(
    model: VAE,
    data: Dataset | Tensor | Iterable[object],
    *,
    epochs: int | None = None,
    steps: int | None = None,
    batch_size: int = 100,
    objective: Objective = "elbo",
    num_samples: int = 1,
    beta: float | Schedule = 1.0,
    optimizer: str | OptimizerMaker = "adam",
    learning_rate: float | Schedule | None = None,
    seed: int = 0,
    transform: Transform | None = None,
    every: int | None = None,
    callbacks: Sequence[Callback] = (),
    checkpoint: Checkpoint | None = None,
    precision: str = "float32",
    compile: bool = False,
    workers: Workers | None = None,
    progress: bool = True,
) -> History:
    """Maximizes the mean of an objective, by default the ELBO (algorithm 1, AEVB, with L = 1).

    Args:
        model: the VAE; it is trained in place, on the device where it is, in train mode (held-out
            examples are scored in eval mode, which matters to dropout and the like).
        data: a data set; a tensor x of shape [N, D] without held-out examples; or a stream, any
            iterable of batches [B, D], endless or not, down to one example a batch.
        epochs: passes over the training examples, 30 by default.
        steps: optimizer steps, in place of epochs; an endless stream needs them.
        batch_size: examples in a minibatch; the last one of an epoch may be smaller.
        objective: ``"elbo"``, ``"iwae"``, or ``f(model, x, eps)`` with a value per example, [B].
        num_samples: samples of z for each example: L of the ELBO, k of the IWAE bound.
        beta: weight of the KL term, a number or a schedule of ``annealing``, called with the
            epoch as a float (with the step for a stream); 1 is the ELBO, other values are not.
        optimizer: ``"adam"``, ``"adagrad"``, or a function of the parameters that makes one.
        learning_rate: step size, a number or a schedule; 1e-3 by default, or what an optimizer of
            one's own has.
        seed: the seed of the shuffling and of the noise.
        transform: applied to each training batch, such as ``data.binarize`` for dynamic
            binarization: ``transform(x, generator)``.
        every: steps between two records; an epoch by default, 100 steps of a stream.
        callbacks: called with the model and the history after each record; one that returns True
            ends training.
        checkpoint: where the run is kept, and from where it goes on if it was stopped.
        precision: ``"float32"``, or ``"bf16"`` for matrix products in bfloat16, which is faster on
            GPUs and on CPUs with instructions for it, and slower on others.
        compile: runs the objective through ``torch.compile``.
        workers: this process among several, from ``distributed.workers()``.
        progress: shows a bar with the ELBO, the reconstruction and the KL, in nats.

    Raises:
        TypeError, ValueError: data that this model cannot explain, or a nonsensical setting.
        DivergenceError: a number became NaN or infinite; the model is back at its last good state.
        OSError: a checkpoint could not be written; the one before it is whole.

    Source: Kingma & Welling (2014), algorithm 1; Kingma & Ba (2015) for Adam.
    """
    keep_freed_memory()
    check_objective(objective, beta, precision)
    inputs.positive_int("num_samples", num_samples)
    batches, valid = batches_of(model, data, batch_size, seed, transform)
    total = _total_steps(epochs, steps, batches.steps_per_epoch)
    if every is None:
        every = batches.steps_per_epoch or RECORD_STREAM
    inputs.positive_int("every", every)
    rng, descend = as_generator(seed), _optimizer(optimizer, model.train())
    weight, rate = _schedule("beta", beta), _rate(learning_rate, callable(optimizer))
    settings: dict[str, Any] = {"seed": seed, "batch_size": batch_size, "num_samples": num_samples}
    settings |= {"objective": _name(objective), "optimizer": type(descend).__name__}
    settings["precision"] = precision
    state = State(model, descend, rng, batches, settings, workers)
    loss_of = prepared(Loss(model, objective, precision), batches.size, rng, compile, workers)
    held_out = partial(held_out_elbo, model, valid, seed)
    if checkpoint is not None:
        checkpoint.restore(state)
    source, ended, end = batches.take(rng, state.step), False, total or math.inf
    main = workers is None or workers.first
    with Progress(total, batches.steps_per_epoch, shown=progress and main) as bar:
        while not ended and state.step < end and (x := next(source, None)) is not None:
            now, size = batches.time(state.step), len(x)
            eps = standard_normal((num_samples, size, model.latent_dim), rng, like=x)
            scale = 1 / size if workers is None else workers.scale(size)
            if workers is not None:
                x, eps = workers.part(x), workers.part(eps, dim=1)
            for group in descend.param_groups:
                group["lr"] = rate(now) if rate else group["lr"]
            with state.watching():
                value, terms = loss_of(x, eps, torch.tensor(weight(now), device=x.device))
            descend.zero_grad()
            (-scale * value).backward()
            descend.step()
            state.add(value, terms, len(x) if scale else 0)
            if state.step % every == 0 or state.step == total:
                state.record(held_out)
                ended = _call(callbacks, state)
                bar.update(state.step, state.history)
            if state.step % CHECK == 0:
                state.check()
                state.flush()
            if checkpoint is not None and state.step % checkpoint.every == 0:
                checkpoint.save(state)
        if state.step > (state.history.step or [0])[-1]:  # a stream ended between two records
            state.record(held_out)
            bar.update(state.step, state.history)
        if checkpoint is not None and state.step > 0:
            checkpoint.save(state)
    if state.step == 0:
        raise ValueError("data held no batch; a stream must yield at least one tensor [B, D]")
    return state.history


@torch.no_grad()
def held_out_elbo(model: VAE, x: Tensor | None, seed: int) -> float | None:
    """The mean ELBO of examples that training does not see, with the same noise at every call."""
    if x is None:
        return None
    model.eval()
    try:
        return elbo_terms(model, x.to(model.device), 1, seed).value.mean().item()
    finally:
        model.train()


def _name(objective: Objective) -> str:
    return objective if isinstance(objective, str) else getattr(objective, "__name__", "own")


def _schedule(name: str, value: float | Schedule) -> Schedule:
    if callable(value):
        return value
    if name == "beta":
        return constant(value)
    inputs.finite_number(name, value, above=0)
    return lambda epoch: value


def _rate(value: float | Schedule | None, own: bool) -> Schedule | None:
    """The learning rate over time; None where an optimizer of one's own keeps its own."""
    if value is None and own:
        return None
    return _schedule("learning_rate", 1e-3 if value is None else value)


def _total_steps(epochs: int | None, steps: int | None, per_epoch: int | None) -> int | None:
    """How long to train, in steps; None until the stream ends."""
    if epochs is not None and steps is not None:
        raise ValueError(f"give epochs or steps, not both ({epochs!r} and {steps!r})")
    if steps is not None:
        return inputs.positive_int("steps", steps)
    if per_epoch is None:
        if epochs is not None:
            raise ValueError(f"a stream has no epochs; give steps instead of epochs={epochs!r}")
        return None
    return inputs.positive_int("epochs", 30 if epochs is None else epochs) * per_epoch


def _optimizer(optimizer: str | OptimizerMaker, model: VAE) -> Optimizer:
    """Adam in one fused pass over the parameters, Adagrad, or one of one's own."""
    if callable(optimizer):
        return optimizer(model.parameters())
    if inputs.one_of("optimizer", optimizer, OPTIMIZERS) == "adagrad":
        return torch.optim.Adagrad(model.parameters())
    return torch.optim.Adam(model.parameters(), fused=model.device.type in ("cpu", "cuda"))


def _call(callbacks: Sequence[Callback], state: State) -> bool:
    """Whether a callback asks to end; in the first process for all."""
    if state.workers is None:
        return any([bool(callback(state.model, state.history)) for callback in callbacks])
    asked = state.workers.first and any(
        [bool(callback(state.model, state.history)) for callback in callbacks]
    )
    return bool(state.workers.total(torch.tensor(float(asked), device=state.model.device)))
