"""What a training run consists of between two steps: all that a stopped run needs to go on as if
it had never stopped."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from vae_tutorial.batches import Batches
from vae_tutorial.distributed import Workers
from vae_tutorial.history import History
from vae_tutorial.model import VAE


class DivergenceError(RuntimeError):
    """Training produced a number that is not finite."""


class State:
    """Model, optimizer, generator, order of the examples, history, and sums since the last record.

    ``sums`` holds the objective, the reconstruction, the KL and the number of examples, in double
    precision on the model's device. ``identity`` says which run this is, for checkpoints.
    """

    def __init__(
        self,
        model: VAE,
        optimizer: torch.optim.Optimizer,
        rng: torch.Generator,
        batches: Batches,
        identity: dict[str, Any],
        workers: Workers | None = None,
    ) -> None:
        self.model, self.optimizer, self.rng, self.batches = model, optimizer, rng, batches
        self.workers = workers
        self.history = History(steps_per_epoch=batches.steps_per_epoch)
        self.step = 0
        self.sums = torch.zeros(4, dtype=torch.double, device=model.device)
        self.has_terms = True
        shapes = {name: list(p.shape) for name, p in model.named_parameters()}
        self.identity = {**identity, "data": batches.name, "parameters": shapes}
        self._steps: list[tuple[Tensor, Tensor | None, int]] = []  # since the last check
        self._good_step, self._good = 0, _copy(model)

    def add(self, value: Tensor, terms: Tensor | None, examples: int) -> None:
        """Counts one step: its objective and terms, summed over so many examples."""
        self.step += 1
        self.has_terms = terms is not None
        self._steps.append((value.detach(), terms, examples))

    def check(self, learning_rate: float) -> None:
        """Stops if a step since the last check was not finite; the model is put back to where it
        was at the last check. Else this is the last good state.

        Raises:
            DivergenceError: with the step, the epoch and what to try.
        """
        values = self._settle()
        if self.workers is not None:
            values = self.workers.total(values)
        bad = (~torch.isfinite(values)).nonzero()
        finite = torch.stack([torch.isfinite(p).all() for p in self.model.parameters()]).all()
        if len(bad) == 0 and bool(finite):
            self._good_step, self._good = self.step, _copy(self.model)
            return
        step = self.step - len(values) + int(bad[0]) + 1 if len(bad) else self.step
        epoch = f" in epoch {int(self.batches.time(step - 1)) + 1}"
        where = f"step {step}" + (epoch if self.history.steps_per_epoch else "")
        what = (
            f"the objective of {where} is {float(values[int(bad[0])])}"
            if len(bad)
            else f"the parameters are no longer finite after {where}"
        )
        with torch.no_grad():
            for p, good in zip(self.model.parameters(), self._good, strict=True):
                p.copy_(good)
        raise DivergenceError(
            f"{what}; the model is back at its state after step {self._good_step}: "
            f"try a learning_rate below {learning_rate:g}, a warm-up of beta, or look for extreme "
            f"values in the data"
        )

    def _settle(self) -> Tensor:
        """Adds the steps since the last call to the sums, one by one, so that it does not matter
        when it is called, and returns their objectives."""
        steps, self._steps = self._steps, []
        if not steps:
            return self.sums[:0]
        rows = self.sums.new_zeros(len(steps), 4)
        rows[:, 0] = torch.stack([value for value, _, _ in steps])
        if self.has_terms:
            rows[:, 1:3] = torch.stack([terms for _, terms, _ in steps if terms is not None])
        rows[:, 3] = torch.tensor([examples for _, _, examples in steps])
        for row in rows[rows[:, 3] > 0]:
            self.sums += row
        return rows[:, 0]

    def flush(self) -> None:
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

    def record(self, learning_rate: float, valid_elbo: float | None) -> None:
        """Appends the means since the last record to the history, if they are finite."""
        self.check(learning_rate)
        sums = self.sums if self.workers is None else self.workers.total(self.sums)
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


def _copy(model: VAE) -> list[Tensor]:
    return [p.detach().clone() for p in model.parameters()]
