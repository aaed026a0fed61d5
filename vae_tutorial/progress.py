"""Progress of training, in nats: a bar in a terminal, one changing line in Jupyter, and about ten
plain lines in a log."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from vae_tutorial.training import History


class _Output(Protocol):
    def show(self, epoch: int, text: str) -> None: ...
    def close(self) -> None: ...


class Progress:
    """Shows one state per epoch, in the form that suits where the code runs."""

    def __init__(self, epochs: int, shown: bool = True) -> None:
        self.epochs = epochs
        self._output = _choose(epochs) if shown else None

    def update(self, epoch: int, history: History) -> None:
        """Shows the newest values of the history."""
        if self._output is not None:
            self._output.show(epoch, describe(history))

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
    """The last epoch in words: ``ELBO -18.2 = reconstruction -14.1 - KL 4.1 nats``."""
    text = (
        f"ELBO {history.elbo[-1]:.1f} = reconstruction {history.reconstruction[-1]:.1f} "
        f"- KL {history.kl[-1]:.1f} nats"
    )
    return text + (f", held-out {history.valid_elbo[-1]:.1f}" if history.valid_elbo else "")


def _choose(epochs: int) -> _Output:
    if _in_jupyter():
        return _JupyterLine(epochs)
    return _TerminalBar(epochs) if sys.stderr.isatty() else _LogLines(epochs)


def _in_jupyter() -> bool:
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return getattr(shell, "kernel", None) is not None


class _TerminalBar:
    def __init__(self, epochs: int) -> None:
        from tqdm import tqdm

        self._bar: Any = tqdm(total=epochs, unit="epoch", file=sys.stderr, dynamic_ncols=True)

    def show(self, epoch: int, text: str) -> None:
        self._bar.set_postfix_str(text, refresh=False)
        self._bar.update(epoch - self._bar.n)

    def close(self) -> None:
        self._bar.close()


class _LogLines:
    def __init__(self, epochs: int) -> None:
        self._epochs = epochs

    def show(self, epoch: int, text: str) -> None:
        if epoch in (1, self._epochs) or epoch % max(1, self._epochs // 10) == 0:
            print(f"epoch {epoch}/{self._epochs}: {text}", file=sys.stderr, flush=True)

    def close(self) -> None: ...


class _JupyterLine:
    """One line that is replaced in place, so that a stored notebook keeps only the last."""

    def __init__(self, epochs: int) -> None:
        from IPython.display import display

        self._epochs = epochs
        self._handle: Any = display(self._line(0, "starting"), raw=True, display_id=True)

    def _line(self, epoch: int, text: str) -> dict[str, str]:
        done = 8 * epoch // self._epochs
        bar = "━" * done + "·" * (8 - done)
        return {"text/plain": f"epoch {epoch}/{self._epochs} {bar} {text}"}

    def show(self, epoch: int, text: str) -> None:
        self._handle.update(self._line(epoch, text), raw=True)

    def close(self) -> None: ...
