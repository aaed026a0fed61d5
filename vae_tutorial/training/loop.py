"""Training: one loop, on one screen. What surrounds it stands beside it: where batches come from
(``batches``), what a step maximizes (``step``), what a run consists of (``state``), how it is kept
(``checkpoint``) and how several processes share it (``processes``)."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor
from torch.optim import Optimizer

from vae_tutorial.data import Dataset
from vae_tutorial.model import VAE
from vae_tutorial.objectives import evaluate_elbo
from vae_tutorial.randomness import as_generator, standard_normal
from vae_tutorial.schedules import Schedule, constant
from vae_tutorial.support import inputs
from vae_tutorial.support.devices import keep_freed_memory
from vae_tutorial.training.batches import Transform, batches_of
from vae_tutorial.training.checkpoint import Checkpoint
from vae_tutorial.training.history import History
from vae_tutorial.training.processes import Workers
from vae_tutorial.training.progress import Progress
from vae_tutorial.training.state import DivergenceError, State, described
from vae_tutorial.training.step import PRECISIONS, BatchObjective, Objective, Step, find_objective

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
    objective: str | Objective = "elbo",
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
            examples are scored in eval mode, which matters to dropout and the like), and given
            back in the mode in which it was.
        data: a data set; a tensor x of shape [N, D] without held-out examples; or a stream, any
            iterable of batches [B, D], endless or not, down to one example a batch.
        epochs: passes over the training examples, 30 by default.
        steps: optimizer steps, in place of epochs; an endless stream needs them.
        batch_size: examples in a minibatch; the last one of an epoch may be smaller.
        objective: ``"elbo"``, ``"iwae"``, or a function ``f(model, x, eps=eps)`` of a batch and
            its noise with a value per example, such as ``partial(free_bits, nats=0.1)``.
        num_samples: samples of z for each example: L of the ELBO, k of the IWAE bound.
        beta: weight of the KL term, a number or a schedule of ``schedules``, called with the
            epoch as a float (with the step for a stream); 1 is the ELBO, other values are not.
        optimizer: ``"adam"``, ``"adagrad"``, or a function of the parameters that makes one.
        learning_rate: step size, a number or a schedule; 1e-3 by default, or what an optimizer of
            one's own has.
        seed: the seed of the shuffling and of the noise.
        transform: applied to each training batch, ``transform(x, generator)``; by default the data
            set's own, such as dynamic binarization.
        every: steps between two records; an epoch by default, 100 steps of a stream.
        callbacks: called with the model and the history after each record; one that returns True
            ends training.
        checkpoint: where the run is kept, and from where it goes on if it was stopped.
        precision: ``"float32"``, or ``"bf16"`` for matrix products in bfloat16, which is faster on
            GPUs and on CPUs with instructions for it, and slower on others.
        compile: runs the objective through ``torch.compile``.
        workers: this process among several, from ``processes.workers()``.
        progress: shows a bar with the ELBO, the reconstruction and the KL, in nats.

    Raises:
        TypeError, ValueError: data that this model cannot explain, or a nonsensical setting.
        DivergenceError: a number became NaN or infinite; the model is back at its last good state.
        OSError: a checkpoint could not be written; the one before it is whole.

    Source: Kingma & Welling (2014), algorithm 1; Kingma & Ba (2015) for Adam.
    """
    keep_freed_memory()
    maximized = find_objective(objective, beta)
    inputs.one_of("precision", precision, PRECISIONS)
    inputs.positive_int("num_samples", num_samples)
    workers = workers or Workers()
    batches, held_out = batches_of(model, data, batch_size, seed, transform)
    total = total_steps(epochs, steps, batches.steps_per_epoch)
    if every is None:
        every = batches.steps_per_epoch or RECORD_STREAM
    inputs.positive_int("every", every)
    weight = _schedule("beta", beta)
    rate = _rate(learning_rate, own_optimizer=callable(optimizer))
    descend = _optimizer(optimizer, model)
    rng = as_generator(seed)
    settings = {
        "seed": seed,
        "batch_size": batch_size,
        "num_samples": num_samples,
        "objective": described(objective),
        "transform": described(transform),
        "optimizer": type(descend).__name__,
        "precision": precision,
    }
    state = State(model, descend, rng, batches, settings, workers)
    per_batch = BatchObjective(model, maximized, weighted=beta != 1.0)
    climb = Step(per_batch, batches.size, seed, compile, workers)
    score = partial(_held_out_elbo, model, held_out, seed)
    if checkpoint is not None:
        checkpoint.restore(state)
    left = None if total is None else max(0, total - state.step)
    bar = Progress(total, batches.steps_per_epoch, shown=progress and workers.first)
    with bar, _in_training(model, precision):
        for x in itertools.islice(batches.take(rng, state.step), left):
            now = batches.time(state.step)
            if rate is not None:
                _set_rate(descend, rate(now))
            eps = standard_normal((num_samples, len(x), model.noise_dim), rng, like=x)
            descend.zero_grad()
            with state.watching():
                sums = climb(state.step, x, eps, weight(now))
            descend.step()
            state.add(sums)
            if state.step % every == 0 or state.step == total:
                state.record(score)
                bar.update(state.step, state.history)
                if _asked_to_end(callbacks, state):
                    break
            if state.step % CHECK == 0:
                state.check()
                state.drop_subnormal_numbers()
            if checkpoint is not None and state.step % checkpoint.every == 0:
                checkpoint.save(state)
        if not state.recorded:  # a stream ended between two records
            state.record(score)
            bar.update(state.step, state.history)
        if checkpoint is not None and state.step > 0:
            checkpoint.save(state)
    if state.step == 0:
        raise ValueError("data held no batch; a stream must yield at least one tensor [B, D]")
    return state.history


@contextmanager
def _in_training(model: VAE, precision: str) -> Iterator[None]:
    """Puts the model into train mode; afterwards every layer is in the mode in which it was."""
    before, modes = model.precision, [(m, m.training) for m in model.modules()]
    model.train()
    model.precision = precision
    try:
        yield
    finally:
        model.precision = before
        for module, mode in modes:
            module.training = mode


def _held_out_elbo(model: VAE, x: Tensor | None, seed: int) -> float | None:
    """The mean ELBO of examples that training does not see, with the same noise at every call."""
    return None if x is None else evaluate_elbo(model, x, rng=seed).value.mean().item()


def _schedule(name: str, value: float | Schedule) -> Schedule:
    if callable(value):
        return value
    if name == "beta":
        return constant(value)
    inputs.finite_number(name, value, above=0)
    return lambda epoch: value


def _rate(value: float | Schedule | None, own_optimizer: bool) -> Schedule | None:
    """The learning rate over time; None where an optimizer of one's own keeps its own."""
    if value is None and own_optimizer:
        return None
    return _schedule("learning_rate", 1e-3 if value is None else value)


def _set_rate(optimizer: Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate


def total_steps(epochs: int | None, steps: int | None, per_epoch: int | None) -> int | None:
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


def _asked_to_end(callbacks: Sequence[Callback], state: State) -> bool:
    """Whether a callback asks to end; in the first process for all."""
    answers = [bool(call(state.model, state.history)) for call in callbacks if state.workers.first]
    asked = torch.tensor(float(any(answers)), device=state.model.device)
    return bool(callbacks) and bool(state.workers.total(asked))
