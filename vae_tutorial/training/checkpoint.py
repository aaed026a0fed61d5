"""A training run on disk: written whole or not at all, and resumed bit by bit.

A checkpoint is one safetensors file; nothing in it is ever unpickled.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path

from torch import Tensor

from vae_tutorial.support import files, inputs
from vae_tutorial.training.history import History
from vae_tutorial.training.saving import read_tensors, write_tensors
from vae_tutorial.training.state import State

FORMAT = "vae_tutorial-checkpoint-1"


class Checkpoint:
    """Where a run is kept: ``fit(…, checkpoint=Checkpoint("run.ckpt", every=500))``.

    If the file is there, training goes on from it, and ends with the same bits as a run that was
    never interrupted (on the same machine, with the same versions and the same settings). It keeps
    the model, the optimizer's state, the generator, the order of the epoch, the sums since the
    last record and the history; the state of callbacks of one's own is theirs to keep. Other data,
    another model, seed, batch size, objective, transform, optimizer or precision are refused;
    schedules are not compared. Several machines need a folder that they share.

    Args:
        path: the file.
        every: steps between two writes; the last step is always written.

    Raises:
        ValueError: every is no whole number of at least 1.
    """

    def __init__(self, path: str | os.PathLike[str], every: int = 1000) -> None:
        self.every = inputs.positive_int("every", every)
        self.path = Path(path)

    def save(self, state: State) -> None:
        """Writes the state, if it is finite; whatever happens meanwhile, the file is the old one
        or the new one. Among several processes the first one writes."""
        state.check()
        sums = state.workers.total(state.sums)
        if not state.workers.first:
            return
        tensors = {f"model/{k}": v for k, v in state.model.state_dict().items()}
        numbers: dict[str, object] = {}
        for index, values in state.optimizer.state_dict()["state"].items():
            for name, value in values.items():
                key = f"optimizer/{index}/{name}"
                (tensors if isinstance(value, Tensor) else numbers)[key] = value
        tensors |= {
            "rng": state.rng.get_state(),
            "order": state.batches.order_state,
            "sums": sums,
        }
        texts = {
            "identity": json.dumps(state.identity),
            "step": str(state.step),
            "has_terms": str(state.has_terms),
            "numbers": json.dumps(numbers),
            "history": json.dumps(asdict(state.history)),
        }
        write_tensors(self.path, tensors, FORMAT, texts)

    def restore(self, state: State) -> bool:
        """Puts the state back to what the file holds; False, and nothing done, without a file.

        Raises:
            OSError: the place cannot be written, which is found out before the first step.
            ValueError: the file is no checkpoint, or one of another run, or several processes do
                not see the same one.
        """
        files.writable(self.path)
        if found := self.path.exists():
            self._load(state)
        steps = state.workers.each(state.step)
        if len(set(steps)) > 1:
            raise ValueError(
                f"the processes found checkpoints of different steps {steps} at {self.path}; "
                f"name a file in a folder that all machines share"
            )
        return found

    def _load(self, state: State) -> None:
        tensors, metadata = read(self.path)
        self._same_run(json.loads(metadata["identity"]), state)
        device = state.model.device
        state.model.load_state_dict(_under("model/", tensors))
        values: dict[int, dict[str, object]] = {}
        numbers = json.loads(metadata["numbers"])
        for key, value in [*_under("optimizer/", tensors).items(), *_under("", numbers).items()]:
            index, name = key.removeprefix("optimizer/").split("/", 1)
            values.setdefault(int(index), {})[name] = value
        groups = state.optimizer.state_dict()["param_groups"]
        state.optimizer.load_state_dict({"state": values, "param_groups": groups})
        state.rng.set_state(tensors["rng"])
        state.batches.order_state = tensors["order"]
        state.sums = tensors["sums"].to(device) * float(state.workers.first)
        state.step = int(metadata["step"])
        state.has_terms = metadata["has_terms"] == "True"
        state.history.__dict__.update(json.loads(metadata["history"]))
        state.keep()

    def _same_run(self, theirs: dict[str, object], state: State) -> None:
        ours = json.loads(json.dumps(state.identity))
        for name, value in ours.items():
            if theirs.get(name) != value:
                long = name in ("parameters", "layers")
                shown = "other ones" if long else f"{theirs.get(name)!r}"
                given = "" if long else f", not {value!r}"
                raise ValueError(
                    f"{self.path} is the checkpoint of a run with {name} {shown}{given}; give the "
                    f"settings of that run, name another file, or remove this one"
                )


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors and the metadata of a checkpoint.

    Raises:
        ValueError: the file is truncated or foreign.
    """
    try:
        return read_tensors(path, FORMAT)
    except ValueError as error:
        reason = " ".join(str(error).split())
        raise files.BrokenFileError(
            f"{path} is not a whole checkpoint of this package ({reason}); remove it to start anew"
        ) from None


def load_history(path: str | os.PathLike[str]) -> History:
    """The history in a checkpoint, such as that of a run that was stopped."""
    return History(**json.loads(read(Path(path))[1]["history"]))


def _under(prefix: str, entries: dict[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in entries.items() if k.startswith(prefix)}
