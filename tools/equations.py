"""Draft the entries of new equations in chapters/equations.yml.

    python -m tools.equations        (make equations)

A draft has the equation's label, chapter and LaTeX, and the method that its check shows; what the
wrong neighbors are is for you to say, and a test refuses a draft that does not. An entry that
stands is never changed: LaTeX that differs is named, so that its check is read again first.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import yaml

from tools import grammar

ROOT = Path(__file__).resolve().parents[1]
REGISTER = ROOT / "chapters" / "equations.yml"
DRAFT = "(say which wrong formulas the check rejects)"


def claims(path: Path) -> dict[str, dict[str, str]]:
    """What a chapter's equations claim: label -> its entry, with a draft of ``wrong``."""
    cells = grammar.cells(path)
    methods: dict[str, str | None] = {}
    for cell in cells:
        if cell["cell_type"] == "code":
            for call in grammar.verified(grammar.source(cell)):
                methods.setdefault(call.label, call.method)
    return {
        label: {
            "chapter": path.stem,
            "latex": latex + "\n",
            "method": methods.get(label) or "(proved, computed or sampled)",
            "wrong": DRAFT,
        }
        for label, latex in grammar.equations(grammar.markdown(cells)).items()
        if label.startswith("eq-")
    }


def entry(label: str, fields: dict[str, str]) -> str:
    """One entry in the register's form, with the LaTeX as a block."""
    latex = "".join(f"    {line}".rstrip() + "\n" for line in fields["latex"].splitlines())
    return (
        f"{label}:\n  chapter: {fields['chapter']}\n  latex: |\n{latex}"
        f"  method: {fields['method']}\n  wrong: {fields['wrong']}\n"
    )


def compare(register: dict[str, Any], found: dict[str, dict[str, str]]) -> tuple[str, list[str]]:
    """The text of new entries, and what else differs, in words."""
    new = "".join(entry(label, found[label]) for label in found if label not in register)
    notes = [
        f"{label}: the LaTeX differs from {mine['chapter']}: read the check, then change the entry"
        for label, mine in found.items()
        if label in register and register[label]["latex"].strip() != mine["latex"].strip()
    ]
    notes += [
        f"{label}: no chapter has this equation: remove the entry"
        for label in register
        if label not in found
    ]
    return new, notes


def main() -> int:
    register = yaml.safe_load(REGISTER.read_text(encoding="utf-8")) or {}
    found: dict[str, dict[str, str]] = {}
    for path in sorted(REGISTER.parent.glob("*.ipynb")):
        found |= claims(path)
    new, notes = compare(register, found)
    if new:
        with REGISTER.open("a", encoding="utf-8") as file:
            file.write(new)
    drafted = [label for label in found if label not in register]
    print("\n".join([*(f"{label}: drafted" for label in drafted), *notes]) or "nothing is new")
    return 1 if notes else 0


if __name__ == "__main__":
    sys.exit(main())
