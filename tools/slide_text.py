"""The chapters' markup, unwrapped for slides: equation numbers, citations, titles, boxes.

nbconvert knows plain Markdown only; what the chapters use beyond it is written out here, with the
same equation numbers as on the site.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from pybtex.database import Entry, parse_file
from pybtex.richtext import Text

from tools import grammar


@dataclass(frozen=True)
class Book:
    """What a chapter's text may refer to."""

    numbers: dict[str, dict[str, str]]  # page -> equation label -> number on that page
    titles: dict[str, str]  # page -> title
    citations: dict[str, tuple[str, str]]  # key -> authors, year

    @classmethod
    def read(cls, root: Path) -> Book:
        numbers, titles = {}, {}
        for path in sorted([*root.glob("*.md"), *(root / "chapters").iterdir()]):
            if path.suffix not in (".md", ".ipynb"):
                continue
            text = grammar.markdown(grammar.cells(path))
            numbers[path.stem] = grammar.numbers(text, path.name)
            titles[path.stem] = grammar.title(text) or path.stem
        entries = parse_file(str(root / "references.bib"), "bibtex").entries
        return cls(numbers, titles, {key: _citation(entry) for key, entry in entries.items()})

    def number(self, label: str, page: str) -> str | None:
        return self.numbers.get(page, {}).get(label)

    def reference(self, label: str, page: str) -> str:
        """An equation's number in brackets; chapters have their own, so one is enough."""
        for labels in [self.numbers.get(page, {}), *self.numbers.values()]:
            if label in labels:
                return f"({labels[label]})"
        raise KeyError(f"no equation is labeled {label}")


def unwrap(text: str, book: Book, page: str) -> str:
    """Plain Markdown with TeX for the Markdown and TeX of a chapter's cell."""
    text = grammar.BOX.sub(lambda found: _box(found), text + "\n")
    text = grammar.EQUATION.sub(lambda found: _numbered(found, book, page), text)
    return grammar.ROLE.sub(lambda found: _role(found, book, page), text).strip()


def _citation(entry: Entry) -> tuple[str, str]:
    people = entry.persons.get("author") or entry.persons.get("editor") or []
    names = [str(Text.from_latex(" ".join([*p.prelast_names, *p.last_names]))) for p in people]
    authors = f"{names[0]} et al." if len(names) > 2 else " & ".join(names)
    return authors, entry.fields.get("year", "n.d.")


def _numbered(found: re.Match[str], book: Book, page: str) -> str:
    number = book.number(found["label"], page)
    tag = f"\\tag{{{number}}}" if number else ""
    return f"$$\n{found['latex'].rstrip()} {tag}\n$$"


def _role(found: re.Match[str], book: Book, page: str) -> str:
    role, text = found["role"], found["text"]
    if role == "eq":
        return book.reference(text, page)
    if role.startswith("cite"):
        works = [book.citations[key.strip()] for key in text.split(",")]
        if role == "cite:t":
            return " and ".join(f"{authors} ({year})" for authors, year in works)
        return "(" + "; ".join(f"{authors}, {year}" for authors, year in works) + ")"
    named = re.fullmatch(r"(.+?)\s*<(.+)>", text, re.S)
    if named:
        return named[1]
    return book.titles.get(Path(text).stem, text) if role == "doc" else text


def _box(found: re.Match[str]) -> str:
    kind, options = found["kind"], found["options"]
    if "dropdown" in options:
        return ""
    title = found["title"].strip() or kind.capitalize()
    body = found["body"].strip()
    return f'<div class="box {kind}">\n\n**{title}**\n\n{body}\n\n</div>\n'
