"""Numbers that a page shows: small tables, each number with the digits or the tolerance it has.

    table({"64 fair coins": -44.36, "the VAE": about(-20.93, 0.5)}, "nats per image", digits=1)

A plain number is printed with the digits that hold on every machine, and the tests compare it as
printed. A number that another machine may change, the result of a training run above all, is
wrapped in ``about(value, tolerance)``, printed as ``-20.9 ± 0.5``, and compared within its
tolerance: `differences` says which numbers of two outputs lie further apart. This module imports
nothing of the package.
"""

from __future__ import annotations

import html
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

NOTE = "±: by how much another machine may differ"
NUMBER = re.compile(r" *(−?[\d,]+(?:\.\d+)?) ±\N{NO-BREAK SPACE}([\d.]+)")
"""A number with its tolerance, as text and HTML both print it; tests/sanitize.cfg has it too."""


@dataclass(frozen=True)
class About:
    """A number and the tolerance within which every machine agrees on it."""

    value: float
    tolerance: float


def about(value: Any, tolerance: float) -> About:
    """A number that other machines reproduce within a tolerance.

    Raises:
        ValueError: the tolerance is not a positive number.
    """
    if not (math.isfinite(tolerance) and tolerance > 0):
        raise ValueError(f"tolerance={tolerance!r} is not a positive number; say how far is near")
    return About(_float(value), float(tolerance))


@dataclass(frozen=True)
class Table:
    """Rows of labels and printed cells, which Jupyter shows as a table and Python as text."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[str, ...]], ...]
    note: str = ""

    def __repr__(self) -> str:
        first = max(len(label) for label, _ in self.rows)
        # a width that no training run changes: a cell with a tolerance counts as 16 characters
        widths = [
            max([len(name), *(16 if "±" in row[k] else len(row[k]) for _, row in self.rows)])
            for k, name in enumerate(self.columns)
        ]
        lines = [self._line("", self.columns, first, widths)] if any(self.columns) else []
        lines += [self._line(label, cells, first, widths) for label, cells in self.rows]
        return "\n".join([*lines, *([self.note] if self.note else [])])

    @staticmethod
    def _line(label: str, cells: Sequence[str], first: int, widths: Sequence[int]) -> str:
        padded = (cell.rjust(width) for cell, width in zip(cells, widths, strict=True))
        return "   ".join([label.ljust(first), *padded]).rstrip()

    def _repr_html_(self) -> str:
        head = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in self.columns)
        head = f"<thead><tr><td></td>{head}</tr></thead>" if any(self.columns) else ""
        body = "".join(
            f'<tr><th scope="row">{html.escape(label)}</th>'
            + "".join(f"<td>{html.escape(cell)}</td>" for cell in cells)
            + "</tr>"
            for label, cells in self.rows
        )
        note = f"<p>{html.escape(self.note)}</p>" if self.note else ""
        return f'<div class="numbers"><table>{head}<tbody>{body}</tbody></table>{note}</div>'


def table(
    rows: Mapping[str, Any], columns: str | Sequence[str] = "", *, digits: int | Sequence[int] = 2
) -> Table:
    """A table of numbers and words, one row for each entry.

    ``rows`` maps a row's label to its value, or to one value for each column: a number, a word,
    or a number ``about`` which machines differ. ``columns`` names the columns, with their units;
    ``digits`` after the decimal point are printed, in all columns or in each.

    Raises:
        ValueError: there is no row, a row has another length than ``columns``, a number is not
            finite, or so few digits are printed that they hide the tolerance.
    """
    names = (columns,) if isinstance(columns, str) else tuple(columns)
    places = (digits,) * len(names) if isinstance(digits, int) else tuple(digits)
    if not rows or len(places) != len(names):
        raise ValueError(
            f"a table needs a row, and digits for each column: {len(rows)} rows, {len(names)} "
            f"columns and {len(places)} digits were given"
        )
    made = []
    for label, given in rows.items():
        values = list(given) if isinstance(given, (tuple, list)) else [given]
        if len(values) != len(names):
            raise ValueError(f"row {label!r} has {len(values)} values for {len(names)} columns")
        made.append((label, tuple(map(_cell, values, places))))
    rough = any("±" in cell for _, cells in made for cell in cells)
    return Table(names, tuple(made), NOTE if rough else "")


def differences(stored: str, fresh: str) -> list[str]:
    """How two outputs differ: in their words, or in numbers beyond their tolerances."""
    if NUMBER.sub("#", stored) != NUMBER.sub("#", fresh):
        return [f"{stored!r} is now {fresh!r}"]
    pairs = zip(NUMBER.findall(stored), NUMBER.findall(fresh), strict=True)
    return [
        f"{old} ± {tolerance} is now {new} ± {now}"
        for (old, tolerance), (new, now) in pairs
        if tolerance != now or abs(_value(old) - _value(new)) > float(tolerance) * (1 + 1e-9)
    ]


def _cell(value: Any, digits: int) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, About):
        last = 10.0**-digits
        if value.tolerance < last:
            raise ValueError(
                f"{digits} digits hide a tolerance of {value.tolerance:g}; print more digits"
            )
        return f"{_printed(value.value, digits)} ±\N{NO-BREAK SPACE}{value.tolerance:g}"
    return _printed(_float(value), digits)


def _float(value: Any) -> float:
    """A number, also of a tensor with a gradient, on any device."""
    return float(value.detach() if hasattr(value, "detach") else value)


def _printed(number: float, digits: int) -> str:
    if not math.isfinite(number):
        raise ValueError(f"{number!r} is not a number that a table can show")
    text = f"{number:,.{digits}f}"
    zero = not text.strip("-0.,")
    return text.lstrip("-") if zero else text.replace("-", "−")


def _value(text: str) -> float:
    return float(text.replace("−", "-").replace(",", ""))
