"""Write the list of chapters wherever it stands: README.md and index.md.

    python -m tools.contents        (make chapters does it)

The order comes from _toc.yml, a chapter's title from there or from its heading, and its question
from the bold line below the heading. Only what stands between the two marks is written.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import NamedTuple

import yaml

from tools import grammar

ROOT = Path(__file__).resolve().parents[1]
START, END = "<!-- chapters -->", "<!-- /chapters -->"


class Chapter(NamedTuple):
    file: str  # from the root, without suffix
    number: str
    title: str
    question: str


def chapters(root: Path = ROOT) -> list[Chapter]:
    """The numbered chapters in the order of the table of contents."""
    toc = yaml.safe_load((root / "_toc.yml").read_text(encoding="utf-8"))
    found = []
    for entry in [entry for part in toc["parts"] for entry in part["chapters"]]:
        path = root / f"{entry['file']}.ipynb"
        number = grammar.chapter_number(path.name)
        if number is None or not path.is_file():
            continue
        text = grammar.markdown(grammar.cells(path))
        title = re.sub(r"^\d+[a-z]?\.\s*", "", entry.get("title", "")) or grammar.title(text)
        question = grammar.question(text)
        if not title or not question:
            raise ValueError(f"{path.name} needs a heading and, below it, its question in bold")
        found.append(Chapter(entry["file"], number, title, question))
    return found


def table(listed: list[Chapter]) -> str:
    """For the README: one row a chapter."""
    rows = [f"| {c.number}. [{c.title}]({c.file}.ipynb) | {c.question} |" for c in listed]
    return "\n".join(["| chapter | the question it answers |", "| --- | --- |", *rows])


def cards(listed: list[Chapter]) -> str:
    """For the front page: one card a chapter."""
    made = [
        f":::{{grid-item-card}} {c.number}. {c.title}\n:link: {c.file}\n:link-type: doc\n"
        f"{c.question}\n:::\n"
        for c in listed
    ]
    return "\n".join(["::::{grid} 1 1 2 2\n:gutter: 3\n", *made]) + "::::"


def rewritten(text: str, listed: str) -> str:
    """A page with the list between its marks."""
    before, start, rest = text.partition(START)
    _, end, after = rest.partition(END)
    if not (start and end):
        raise ValueError(f"the page needs the marks {START} and {END}")
    return f"{before}{START}\n{listed}\n{END}{after}"


def pages(root: Path = ROOT) -> dict[Path, str]:
    """What each page that lists the chapters should say."""
    listed = chapters(root)
    wanted = {root / "README.md": table(listed), root / "index.md": cards(listed)}
    return {p: rewritten(p.read_text(encoding="utf-8"), text) for p, text in wanted.items()}


def main() -> int:
    for path, text in pages().items():
        if path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            print(f"{path.name}: the list of chapters is new")
    return 0


if __name__ == "__main__":
    sys.exit(main())
