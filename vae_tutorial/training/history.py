"""What training measured: a record every so many steps, in nats per example."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path

from vae_tutorial.support import files


@dataclass
class History:
    """One value per record, in nats per example; higher is better for all but ``kl``.

    ``objective`` is what was maximized, ``elbo`` = ``reconstruction`` − ``kl`` its unweighted
    ELBO: means over the training examples since the last record, while the parameters move.
    ``valid_elbo`` is the mean ELBO of the held-out examples at the record, empty without any.
    The three terms stay empty where an objective of one's own does not report them.

    ``step`` counts optimizer steps; ``steps_per_epoch`` is None for a stream.
    """

    elbo: list[float] = field(default_factory=list)
    reconstruction: list[float] = field(default_factory=list)
    kl: list[float] = field(default_factory=list)
    valid_elbo: list[float] = field(default_factory=list)
    objective: list[float] = field(default_factory=list)
    step: list[int] = field(default_factory=list)
    steps_per_epoch: int | None = None

    @property
    def epoch(self) -> list[float]:
        """When each record was made, in epochs; in steps for a stream, which has no epochs."""
        return [step / (self.steps_per_epoch or 1) for step in self.step]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the history as JSON, whole or not at all.

        Raises:
            OSError: the disk is full or the place cannot be written.
        """
        files.write_json(path, asdict(self))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> History:
        """Reads what :meth:`save` wrote.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: the file is no history.
        """
        try:
            return cls(**json.loads(Path(path).read_text()))
        except (ValueError, TypeError) as error:
            raise ValueError(
                f"{path} is not a history that History.save wrote ({error})"
            ) from None

    def __repr__(self) -> str:
        epochs = self.epoch[-1] if self.step else 0
        return f"History({epochs:g} {'epochs' if self.steps_per_epoch else 'steps'})"
