"""What a training run consists of between two steps: all that a stopped run needs to go on as if
it had never stopped."""

from __future__ import annotations

import copy
import hashlib
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import Module

from vae_tutorial.model import VAE
from vae_tutorial.training.batches import Batches
from vae_tutorial.training.history import History
from vae_tutorial.training.processes import Workers
from vae_tutorial.training.step import Sums


class DivergenceError(RuntimeError):
    """Training produced a number that is not finite."""


class State:
    """Model, optimizer, generator, order of the examples, history, and sums since the last record.

    After each step the loop calls ``add``; every hundred steps ``check``, which keeps a good state
    or goes back to the last one; and at a record ``record``, which checks first.

    ``sums`` holds the objective, the reconstruction, the KL and the number of examples, in double
    precision on the model's device. ``settings`` say which run this is, for checkpoints.
    """

    def __init__(
        self,
        model: VAE,
        optimizer: torch.optim.Optimizer,
        rng: torch.Generator,
        batches: Batches,
        settings: dict[str, Any],
        workers: Workers,
    ) -> None:
        self.model, self.optimizer, self.rng, self.batches = model, optimizer, rng, batches
        self.settings, self.workers = settings, workers
        self.history = History(steps_per_epoch=batches.steps_per_epoch)
        self.step = 0
        self.sums = torch.zeros(4, dtype=torch.double, device=model.device)
        self.has_terms = True
        self._steps: list[Sums] = []  # since the last check
        self.keep()

    @property
    def identity(self) -> dict[str, Any]:
        """Which run this is: what a checkpoint must agree with."""
        shapes = {name: list(p.shape) for name, p in self.model.named_parameters()}
        families = (self.model.posterior, self.model.likelihood, self.model.prior_network)
        layers = [repr(self.model), *(described(f) for f in families if not isinstance(f, Module))]
        model = hashlib.sha256(repr(layers).encode()).hexdigest()[:12]
        return {
            **self.settings,
            "data": self.batches.name,
            "parameters": shapes,
            "layers": f"with SHA-256 {model}",
        }

    @property
    def recorded(self) -> bool:
        """Whether the history knows of the last step."""
        return self.step == (self.history.step or [0])[-1]

    def keep(self) -> None:
        """Remembers the model, parameters and buffers, as its last good state."""
        self._good_step, self._good = self.step, copy.deepcopy(self.model.state_dict())

    def add(self, sums: Sums) -> None:
        """Counts one step."""
        self.step += 1
        self.has_terms = sums.terms is not None
        self._steps.append(sums)

    def check(self, valid_elbo: float | None = None) -> None:
        """Stops if a step since the last check was not finite, or the held-out ELBO is not; the
        model is put back to where it was at the last check. Else this is the last good state.

        Raises:
            DivergenceError: with the step, the epoch and what to try.
        """
        if what := self._wrong(valid_elbo):
            raise self._diverged(what)
        self.keep()

    def _wrong(self, valid_elbo: float | None = None) -> str | None:
        values = self.workers.total(self._settle())
        bad = (~torch.isfinite(values)).nonzero()
        if len(bad):
            step = self.step - len(values) + int(bad[0]) + 1
            return f"the objective of {self._name(step)} is {float(values[int(bad[0])])}"
        sums = torch.stack([p.detach().sum() for p in self.model.parameters()])
        if not bool(torch.isfinite(sums).all()):  # one number that is not makes its sum so
            return f"the parameters are no longer finite after {self._name(self.step)}"
        if valid_elbo is not None and not math.isfinite(valid_elbo):
            return f"the held-out ELBO after {self._name(self.step)} is {valid_elbo}"
        return None

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Around calls of the model: distributions that check their parameters, as those of torch
        do, refuse numbers that are not finite. Before the first step that is the model's fault,
        after it a divergence."""
        try:
            yield
        except ValueError as error:
            if self.step == 0 or not _raised_in("torch.distributions", error):
                raise
            first = self._wrong() if self.workers.count == 1 else None  # others do not ask now
            refused = " ".join(str(error).split("\n", 1)[0].rstrip(":").split())
            what = f"after {self._name(self.step)} the model has impossible outputs ({refused})"
            raise self._diverged(first or what) from error

    def _diverged(self, what: str) -> DivergenceError:
        self.model.load_state_dict(self._good)
        return DivergenceError(
            f"{what}; the model is back at its state after step {self._good_step}: try a "
            f"learning_rate below {self.optimizer.param_groups[0]['lr']:g}, a warm-up of beta, "
            f"or look for extreme values in the data"
        )

    def _name(self, step: int) -> str:
        epoch = f" in epoch {int(self.batches.time(step - 1)) + 1}"
        return f"step {step}" + (epoch if self.history.steps_per_epoch else "")

    def _settle(self) -> Tensor:
        """Adds the steps since the last call to the sums, one by one, so that it does not matter
        when it is called, and returns their objectives."""
        steps, self._steps = self._steps, []
        if not steps:
            return self.sums[:0]
        rows = self.sums.new_zeros(len(steps), 4)
        rows[:, 0] = torch.stack([sums.objective for sums in steps])
        if self.has_terms:
            rows[:, 1:3] = torch.stack([s.terms for s in steps if s.terms is not None])
        rows[:, 3] = torch.tensor([sums.examples for sums in steps])
        for row in rows[rows[:, 3] > 0]:
            self.sums += row
        return rows[:, 0]

    def drop_subnormal_numbers(self) -> None:
        """Sets the subnormal numbers in the optimizer's state to zero.

        Adam's mean of the gradients of a weight whose pixel stays black shrinks by a tenth a step
        until it is stuck at the smallest numbers above zero. They are too small to move a
        parameter, but a CPU calculates with them many times more slowly.
        """
        if self.model.device.type != "cpu":
            return
        for values in self.optimizer.state.values():
            for value in values.values():
                if isinstance(value, Tensor) and value.is_floating_point():
                    value.mul_(value.abs() >= torch.finfo(value.dtype).tiny)

    def record(self, held_out: Callable[[], float | None]) -> None:
        """Appends the means since the last record to the history, if they are finite, and what
        ``held_out`` finds: the first process's finding, where there are several."""
        with self.watching():
            valid_elbo = held_out()
        if valid_elbo is not None:
            mine = self.sums.new_tensor(valid_elbo if self.workers.first else 0.0)
            valid_elbo = float(self.workers.total(mine))
        self.check(valid_elbo)
        sums = self.workers.total(self.sums)
        value, reconstruction, kl, examples = sums.tolist()
        self.history.step.append(self.step)
        self.history.objective.append(value / examples)
        if self.has_terms:
            self.history.elbo.append((reconstruction - kl) / examples)
            self.history.reconstruction.append(reconstruction / examples)
            self.history.kl.append(kl / examples)
        if valid_elbo is not None:
            self.history.valid_elbo.append(valid_elbo)
        self.sums = torch.zeros_like(self.sums)


def described(function: object) -> str | None:
    """Which function this is, for the identity of a run: its name, what it is made of and what it
    was given; two functions that compute other things have other descriptions."""
    if function is None or isinstance(function, str):
        return function
    if isinstance(function, partial):
        given = [repr(a) for a in function.args]
        given += [f"{name}={value!r}" for name, value in function.keywords.items()]
        return f"{described(function.func)}({', '.join(given)})"
    name = getattr(function, "__qualname__", type(function).__qualname__)
    code = getattr(getattr(function, "__func__", function), "__code__", None)
    if code is None:
        return name
    cells = [cell.cell_contents for cell in getattr(function, "__closure__", None) or ()]
    given = [*cells, *(getattr(function, "__defaults__", None) or ())]
    plain = [v for v in given if isinstance(v, (int, float, str, tuple, type(None)))]
    consts = [c for c in code.co_consts if not hasattr(c, "co_code")]
    parts = code.co_code, consts, code.co_names, plain
    return f"{name} {hashlib.sha256(repr(parts).encode()).hexdigest()[:8]}"


def _raised_in(package: str, error: BaseException) -> bool:
    """Whether a module of the package raised the error."""
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    return frame is not None and frame.tb_frame.f_globals["__name__"].startswith(package)
