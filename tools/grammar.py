"""How a chapter is written, read in one place: cells, tags, equations, ticks, markup, slides.

The Sphinx extension, the tools and the tests use these names, so that they see the same chapter.
A cell is what JSON or nbformat make of it: both are dictionaries.
"""

from __future__ import annotations

import ast
import json
import re
import symtable
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

Cell = Mapping[str, Any]

CHECK = "check"
"""The tag of a cell that checks an equation: folded on the page, absent from the deck."""
FOLDED = {CHECK, "hide-input", "hide-cell", "remove-input", "remove-cell"}
"""The tags of cells whose code a reader does not see at first."""
SLIDE_TYPES = {"slide", "subslide", "fragment", "skip", "-"}
ROLES = {"eq", "doc", "cite:p", "cite:t"}
DIRECTIVES = {"note", "warning", "tip", "admonition"}
METHODS = {
    "identical": "proved",
    "close": "computed",
    "at_most": "computed",
    "estimates": "sampled",
}
"""The comparisons of vae_tutorial.book.checks, and what their ticks say was done."""

EQUATION = re.compile(
    r"^\$\$\n(?P<latex>(?:(?!\$\$).)*?)\n\$\$ \((?P<label>(?:eq|def)-[\w-]+)\)$", re.S | re.M
)
ANY_LABEL = re.compile(r"\((eq-[\w-]+|def-[\w-]+)\)\s*$|:label:\s*([\w-]+)", re.M)
TICK = re.compile(
    r"✓ (?P<label>eq-[\w-]+): (?P<how>(?P<method>proved|computed|sampled)\b.*); "
    r"(?P<wrong>\d+) wrong neighbors? rejected"
)
ROLE = re.compile(r"\{(?P<role>[\w:-]+)\}`(?P<text>[^`]+)`")
FENCE = re.compile(r"^(?P<fence>`{3,}|~{3,}|:{3,})\{(?P<kind>[\w-]+)\}", re.M)
BOX = re.compile(
    r"^(?P<fence>`{3,}|:{3,})\{(?P<kind>\w+)\}[ \t]*(?P<title>.*)\n"
    r"(?P<options>(?::[\w-]+:.*\n)*)(?P<body>(?:.*\n)*?)(?P=fence)[ \t]*$",
    re.M,
)
SOLUTION = re.compile(r"\{admonition\} Solution \d+.*?^~~~python\n(?P<code>.*?)^~~~$", re.S | re.M)
UNSOLVED = "not solved yet"


class Verified(NamedTuple):
    """One call of ``verify``: its equation, and the word of its tick where that can be read."""

    label: str
    method: str | None


def cells(path: Path) -> list[Cell]:
    """The cells of a notebook; a Markdown page is one cell of text."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        return list(json.loads(text)["cells"])
    return [{"cell_type": "markdown", "metadata": {}, "source": text}]


def source(cell: Cell) -> str:
    return "".join(cell["source"])


def markdown(cells: Iterable[Cell]) -> str:
    return "\n\n".join(source(cell) for cell in cells if cell["cell_type"] == "markdown")


def tags(cell: Cell) -> set[str]:
    return set(cell["metadata"].get("tags", []))


def is_check(cell: Cell) -> bool:
    return cell["cell_type"] == "code" and CHECK in tags(cell)


def is_folded(cell: Cell) -> bool:
    return bool(FOLDED & tags(cell))


def alt(cell: Cell) -> str:
    """What a cell's figure shows, in words."""
    return str(cell["metadata"].get("mystnb", {}).get("image", {}).get("alt", ""))


# --- pages


def chapter_number(name: str) -> str | None:
    """4 for 04_kl_divergence and 3b for 03b_gradients, None for pages that are no chapter."""
    found = re.match(r"0*(\d+[a-z]?)_", Path(name).name)
    return found[1] if found else None


def title(text: str) -> str | None:
    """The heading of a page's Markdown."""
    found = re.search(r"^# (.+)$", text, re.M)
    return found[1].strip() if found else None


def question(text: str) -> str | None:
    """The one question that a chapter answers: the bold paragraph below its title."""
    found = re.match(r"# .+\n+\*\*(.+?)\*\*\s*(?:\n|$)", text)
    return found[1] if found else None


# --- equations and their checks


def equations(text: str) -> dict[str, str]:
    """Label -> LaTeX of every labeled equation, in the order of the page."""
    return {found["label"]: found["latex"].strip() for found in EQUATION.finditer(text)}


def numbers(text: str, page: str) -> dict[str, str]:
    """Label -> number: equations count within their chapter, (4.1), (4.2), …"""
    chapter = chapter_number(page)
    prefix = f"{chapter}." if chapter else ""
    return {label: f"{prefix}{n}" for n, label in enumerate(equations(text), 1)}


def python(code: str) -> ast.Module:
    """A cell's code without the lines that only IPython understands."""
    lines = code.splitlines()
    return ast.parse("\n".join(re.sub(r"^(\s*)[%!].*", r"\1pass", line) for line in lines))


def verified(code: str) -> list[Verified]:
    """The equations that a cell's code checks, in order."""
    calls = [
        node
        for node in ast.walk(python(code))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "verify"
    ]
    found = []
    for call in sorted(calls, key=lambda node: (node.lineno, node.col_offset)):
        label, check = call.args[0], call.args[1]
        plain = isinstance(check, ast.Call) and isinstance(check.func, ast.Name)
        method = METHODS.get(check.func.id) if plain else None
        if isinstance(label, ast.Constant):
            found.append(Verified(str(label.value), method))
    return found


def names(code: str) -> tuple[set[str], set[str]]:
    """The names that a cell's code binds at its top level, and those that it reads from before."""
    tree = python(code)
    table = symtable.symtable(ast.unparse(tree), "cell", "exec")
    made = {s.get_name() for s in table.get_symbols() if s.is_assigned() or s.is_imported()}
    used = {s.get_name() for s in table.get_symbols() if s.is_referenced()}
    inner = list(table.get_children())
    while inner:
        scope = inner.pop()
        used |= {s.get_name() for s in scope.get_symbols() if s.is_global()}
        inner += scope.get_children()
    first: dict[str, str] = {}
    for node in _in_order(tree.body):
        first.setdefault(node.id, "made" if isinstance(node.ctx, ast.Store) else "used")
    return made, {name for name in used if name not in made or first.get(name) == "used"}


def _in_order(statements: Iterable[ast.stmt]) -> Iterator[ast.Name]:
    """The names of a source as they are evaluated: a statement's values before its targets."""
    for statement in statements:
        if isinstance(statement, ast.FunctionDef | ast.ClassDef):
            continue
        blocks = [getattr(statement, name, []) for name in ("body", "orelse", "finalbody")]
        nested = {id(node) for block in blocks for inner in block for node in ast.walk(inner)}
        own = [
            node
            for node in ast.walk(statement)
            if isinstance(node, ast.Name) and id(node) not in nested
        ]
        yield from sorted(own, key=lambda node: isinstance(node.ctx, ast.Store))
        for block in blocks:
            yield from _in_order(block)


def is_tick(line: str) -> bool:
    return TICK.fullmatch(line) is not None


def fold_labels(checks: Sequence[Sequence[str]], number: Mapping[str, str]) -> list[str]:
    """What opens each checking cell of a page; ``checks`` holds each cell's equations.

    An equation that is checked more than once counts, so that no two labels are the same.
    """
    names = [tuple(number.get(label, label) for label in dict.fromkeys(cell)) for cell in checks]
    made: list[str] = []
    for at, name in enumerate(names):
        numbers = " and ".join(f"({n})" for n in name)
        turns = names.count(name)
        turn = f", {names[: at + 1].count(name)} of {turns}" if turns > 1 else ""
        made.append(
            f"How {numbers} {'are' if len(name) > 1 else 'is'} checked{turn}"
            if name
            else "How this is checked"
        )
    return made


# --- slides


def slide_type(cell: Cell) -> str:
    return str(cell["metadata"].get("slideshow", {}).get("slide_type", "-"))


def slide(cell: Cell) -> Mapping[str, Any]:
    """What the deck shows instead: text, notes, hide_input."""
    return cell["metadata"].get("slide", {})


def has_deck(cells: Iterable[Cell]) -> bool:
    return any(slide_type(cell) == "slide" for cell in cells)


# --- what a reader sees at first


def visible_words(cells: Iterable[Cell]) -> int:
    """Words of the text without folded boxes; a formula counts as one word."""
    text = markdown(cells) + "\n"
    text = BOX.sub(lambda box: "" if "dropdown" in box["options"] else box["body"], text)
    text = re.sub(r"^(```|~~~).*?^\1\s*?$", "", text, flags=re.S | re.M)
    text = ROLE.sub(" reference ", text)
    formula = r"\$\$.+?\$\$(?: \([\w-]+\))?|\$[^$\n]+\$|`[^`]+`"
    text = re.sub(formula, " formula ", text, flags=re.S)
    return sum(bool(re.search(r"\w", word)) for word in text.split())


def visible_lines(cells: Iterable[Cell]) -> int:
    """Lines of code that are neither folded nor empty."""
    shown = [c for c in cells if c["cell_type"] == "code" and not is_folded(c)]
    return sum(bool(line.strip()) for cell in shown for line in source(cell).splitlines())
