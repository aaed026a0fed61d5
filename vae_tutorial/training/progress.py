"""Progress of training, in nats: a bar in a terminal, one changing line in Jupyter, and about ten
plain lines in a log."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from vae_tutorial.training.history import History


class _Output(Protocol):
    def show(self, done: int, text: str) -> None: ...
    def close(self) -> None: ...


class Progress:
    """Shows one state per record, in the form that suits where the code runs: counted in epochs if
    training lasts whole ones, else in steps, whose number an endless stream does not know."""

    def __init__(self, steps: int | None, steps_per_epoch: int | None, shown: bool = True) -> None:
        whole = steps is not None and steps_per_epoch is not None and steps % steps_per_epoch == 0
        self._unit, self._size = ("epoch", steps_per_epoch or 1) if whole else ("step", 1)
        total = None if steps is None else steps // self._size
        self._output = _choose(total, self._unit) if shown else None

    def update(self, step: int, history: History) -> None:
        """Shows the newest values of the history."""
        if self._output is not None:
            self._output.show(step // self._size, describe(history))

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._output is not None:
            self._output.close()


def describe(history: History) -> str:
    """The last record in words: ``ELBO -18.2 = reconstruction -14.1 - KL 4.1 nats``."""
    if history.elbo:
        text = (
            f"ELBO {history.elbo[-1]:.1f} = reconstruction {history.reconstruction[-1]:.1f} "
            f"- KL {history.kl[-1]:.1f} nats"
        )
    else:
        text = f"objective {history.objective[-1]:.1f} nats"
    return text + (f", held-out {history.valid_elbo[-1]:.1f}" if history.valid_elbo else "")


def _choose(total: int | None, unit: str) -> _Output:
    if _in_jupyter():
        return _JupyterLine(total, unit)
    return _TerminalBar(total, unit) if sys.stderr.isatty() else _LogLines(total, unit)


def _in_jupyter() -> bool:
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return getattr(shell, "kernel", None) is not None


def _count(done: int, total: int | None, unit: str) -> str:
    return f"{unit} {done}" + (f"/{total}" if total else "")


class _TerminalBar:
    def __init__(self, total: int | None, unit: str) -> None:
        from tqdm import tqdm

        self._bar: Any = tqdm(total=total, unit=unit, file=sys.stderr, dynamic_ncols=True)

    def show(self, done: int, text: str) -> None:
        self._bar.set_postfix_str(text, refresh=False)
        self._bar.update(done - self._bar.n)

    def close(self) -> None:
        self._bar.close()


class _LogLines:
    """A line for the first record and for every tenth of the whole; of an endless stream, for
    every doubling."""

    def __init__(self, total: int | None, unit: str) -> None:
        self._total, self._unit, self._next = total, unit, 0.0

    def show(self, done: int, text: str) -> None:
        if done < self._next:
            return
        tenth = max(1.0, (self._total or 0) / 10)
        self._next = tenth * (done // tenth + 1) if self._total else 2 * done
        print(f"{_count(done, self._total, self._unit)}: {text}", file=sys.stderr, flush=True)

    def close(self) -> None: ...


class _JupyterLine:
    """One line that is replaced in place, so that a stored notebook keeps only the last."""

    def __init__(self, total: int | None, unit: str) -> None:
        from IPython.display import display

        self._total, self._unit = total, unit
        self._handle: Any = display(self._line(0, "starting"), raw=True, display_id=True)

    def _line(self, done: int, text: str) -> dict[str, str]:
        filled = 8 * done // self._total if self._total else 0
        bar = "━" * filled + "·" * (8 - filled)
        return {"text/plain": f"{_count(done, self._total, self._unit)} {bar} {text}"}

    def show(self, done: int, text: str) -> None:
        self._handle.update(self._line(done, text), raw=True)

    def close(self) -> None: ...
