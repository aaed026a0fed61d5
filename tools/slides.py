"""Build a reveal.js deck from each notebook that has slides.

    python -m tools.slides --out _build/html/slides chapters/*.ipynb

The decks use the site's own scripts and style (../_static), so the book is built first. What the
cells' metadata ask for is described in CONTRIBUTING.md; the template is web/templates/deck.
"""

from __future__ import annotations

import argparse
import html
import sys
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import nbformat
from nbconvert.exporters import SlidesExporter
from nbformat import NotebookNode
from traitlets.config import Config

from tools import grammar
from tools.slide_text import Book, unwrap

ROOT = Path(__file__).resolve().parents[1]


def deck_cells(cell: NotebookNode, book: Book, chapter: str) -> list[NotebookNode]:
    """What becomes of one cell: itself, text above it, speaker notes after it."""
    kind, options = grammar.slide_type(cell), grammar.slide(cell)
    if kind == "skip":
        return []
    cells, text = [cell], options.get("text")
    if cell.cell_type == "markdown":
        cell.source = unwrap(cell.source if text is None else text, book, chapter)
    else:
        if options.get("hide_input"):
            cell.metadata["tags"] = sorted({*cell.metadata.get("tags", []), "hide-input"})
        cell.outputs = [o for o in map(_output(cell, book, chapter), cell.outputs) if o]
        if text is not None:
            above = nbformat.v4.new_markdown_cell(unwrap(text, book, chapter))
            above.metadata["slideshow"] = {"slide_type": kind}
            cell.metadata["slideshow"] = {"slide_type": "-"}
            cells = [above, cell]
    if notes := options.get("notes"):
        aside = nbformat.v4.new_markdown_cell(unwrap(notes, book, chapter))
        aside.metadata["slideshow"] = {"slide_type": "notes"}
        cells.append(aside)
    return cells


def _output(cell: NotebookNode, book: Book, chapter: str):
    alt = grammar.alt(cell)

    def prepare(output: NotebookNode) -> NotebookNode | None:
        if output.output_type == "stream":
            if output.name == "stderr":
                return None
            if any(map(grammar.is_tick, output.text.split("\n"))):
                return nbformat.v4.new_output(
                    "display_data", {"text/html": _ticks(output.text, book, chapter)}
                )
        elif "image/png" in output.get("data", {}):
            output.metadata["image/png"] = {"alt": alt}
        return output

    return prepare


def _ticks(text: str, book: Book, chapter: str) -> str:
    """The lines that `verify` printed as a list, others as they are."""
    parts = []
    for ticks, lines in groupby(text.rstrip().split("\n"), key=grammar.is_tick):
        if ticks:
            rows = "".join(f"<li>{_tick(line, book, chapter)}</li>" for line in lines)
            parts.append(f'<ul class="ticks">{rows}</ul>')
        else:
            parts.append(f'<pre class="plain-output">{html.escape(chr(10).join(lines))}</pre>')
    return "".join(parts)


def _tick(line: str, book: Book, chapter: str) -> str:
    tick = grammar.TICK.fullmatch(line)
    assert tick is not None
    number = book.number(tick["label"], chapter)
    name = f"({number}) " if number else ""
    rest = html.escape(line.removeprefix("✓ "))
    return f'<span class="tick">✓</span> {name}{rest}'


def exporter() -> SlidesExporter:
    config = Config()
    config.SlidesExporter.template_name = "deck"
    config.SlidesExporter.extra_template_basedirs = [str(ROOT / "web" / "templates")]
    config.SlidesExporter.exclude_input_prompt = True
    config.SlidesExporter.exclude_output_prompt = True
    config.TagRemovePreprocessor.enabled = True
    config.TagRemovePreprocessor.remove_input_tags = grammar.FOLDED
    config.CSSHTMLHeaderPreprocessor.style = "a11y-high-contrast-light"
    return SlidesExporter(config=config)


def build(path: Path, out: Path, book: Book) -> Path | None:
    """Write one deck; None where the notebook has no slides."""
    nb = nbformat.read(path, as_version=4)
    if not grammar.has_deck(nb.cells):
        return None
    nb.cells = [made for cell in nb.cells for made in deck_cells(cell, book, path.stem)]
    nb.metadata["title"] = book.titles[path.stem]
    body, _ = exporter().from_notebook_node(nb, {"metadata": {"name": path.stem}})
    target = out / f"{path.stem}.html"
    out.mkdir(parents=True, exist_ok=True)
    target.write_text(body, encoding="utf-8")
    return target


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("notebooks", nargs="*", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args(arguments)
    book = Book.read(ROOT)
    for path in options.notebooks:
        if target := build(path, options.out, book):
            print(f"{target}: {target.stat().st_size >> 10} KiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
