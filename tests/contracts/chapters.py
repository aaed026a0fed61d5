"""Reads the chapters for the contracts: cells, equations, roles, slides."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import nbformat
import yaml
from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parents[2]
CHAPTERS = sorted((ROOT / "chapters").glob("*.ipynb"))
LABELED_MATH = re.compile(r"^\$\$\n((?:(?!\$\$).)*?)\n\$\$ \(((?:eq|def)-[\w-]+)\)$", re.S | re.M)
LABEL = re.compile(r"\((eq-[\w-]+|def-[\w-]+)\)\s*$|:label:\s*([\w-]+)", re.M)
VERIFY = re.compile(r"""\bverify\(\s*["'](eq-[\w-]+)["']""")
TICK = re.compile(r"^✓ (eq-[\w-]+): (.*); \d+ wrong neighbors? rejected$", re.M)
ROLE = re.compile(r"\{([\w:-]+)\}`([^`]+)`")
FENCE = re.compile(r"^(`{3,}|~{3,}|:{3,})\{([\w-]+)\}", re.M)


@cache
def notebook(path: Path) -> NotebookNode:
    return nbformat.read(path, as_version=4)


def markdown(path: Path) -> str:
    return "\n\n".join(c.source for c in notebook(path).cells if c.cell_type == "markdown")


def code_cells(path: Path) -> list[NotebookNode]:
    return [c for c in notebook(path).cells if c.cell_type == "code"]


def equations(path: Path) -> dict[str, str]:
    """Label -> LaTeX of every labeled equation of a chapter."""
    return {label: latex.strip() for latex, label in LABELED_MATH.findall(markdown(path))}


def ticks(path: Path) -> dict[str, str]:
    """Label -> how it was checked, from the stored outputs."""
    printed = "".join(
        o.text for c in code_cells(path) for o in c.outputs if o.output_type == "stream"
    )
    return dict(TICK.findall(printed))


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
