"""Count what a reader of a page sees at first: words of text, and lines of code.

    python -m tools.count chapters/*.ipynb

Folded boxes and cells do not count, nor do solutions; a formula is one word. About 3,000 words and
150 lines are what a chapter of 60 to 90 minutes can hold.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tools import grammar


def counts(path: Path) -> str:
    cells = grammar.cells(path)
    words, lines = grammar.visible_words(cells), grammar.visible_lines(cells)
    return f"{words:,} words and {lines} lines of code visible"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pages", nargs="+", type=Path)
    for path in parser.parse_args(arguments).pages:
        print(f"{path}: {counts(path)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
