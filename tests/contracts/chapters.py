"""Reads the chapters for the contracts: cells, equations, ticks, figures."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import nbformat
import yaml
from nbformat import NotebookNode

from tools import grammar

ROOT = Path(__file__).resolve().parents[2]
CHAPTERS = sorted((ROOT / "chapters").glob("*.ipynb"))


@cache
def notebook(path: Path) -> NotebookNode:
    return nbformat.read(path, as_version=4)


def markdown(path: Path) -> str:
    return grammar.markdown(notebook(path).cells)


def code_cells(path: Path) -> list[NotebookNode]:
    return [c for c in notebook(path).cells if c.cell_type == "code"]


def equations(path: Path) -> dict[str, str]:
    """Label -> LaTeX of every labeled equation of a chapter."""
    return grammar.equations(markdown(path))


def printed(cell: NotebookNode) -> list[str]:
    """The lines that a cell printed."""
    text = "".join(o.text for o in cell.outputs if o.output_type == "stream")
    return text.splitlines()


def ticks(path: Path) -> list[tuple[str, str]]:
    """(label, proved | computed | sampled) of every tick in the stored outputs."""
    lines = [line for c in code_cells(path) for line in printed(c)]
    return [(t["label"], t["method"]) for line in lines if (t := grammar.TICK.fullmatch(line))]


@cache
def register() -> dict[str, dict[str, str]]:
    """chapters/equations.yml."""
    return yaml.safe_load((ROOT / "chapters" / "equations.yml").read_text())


def pictures(path: Path) -> list[tuple[str, str]]:
    """(cell id, base64 PNG) of every picture that the outputs hold, in order."""
    return [
        (c.id, o.data["image/png"])
        for c in code_cells(path)
        for o in c.outputs
        if "image/png" in o.get("data", {})
    ]
