"""What this book adds to Sphinx: still pictures behind widgets, ticks, folded checks, slides.

It numbers equations by chapter, links to the slides, and takes out scripts that Sphinx lists
twice: the second would be an error in the reader's browser. How chapters are written is read by
tools/grammar.py.
"""

from __future__ import annotations

import html
import sys
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # the repository's root
from tools import grammar

VIEW = "application/vnd.jupyter.widget-view+json"
ICON = "fas fa-chalkboard"


class StillBehindWidget(SphinxPostTransform):
    """A widget's output keeps its picture: the script that mounts the widget replaces it."""

    default_priority = 3  # before myst-nb selects one representation
    formats = ("html",)

    def run(self, **kwargs: Any) -> None:
        for bundle in list(self.document.findall(nodes.container)):
            if bundle.get("nb_element") != "mime_bundle":
                continue
            parts = {part.get("mime_type"): part for part in bundle.children}
            if VIEW in parts and "image/png" in parts:
                view, still = parts[VIEW], parts["image/png"]
                view.insert(0, _raw('<div class="widget">'))
                view.extend([*still.children, _raw("</div>")])


class Ticks(SphinxPostTransform):
    """The lines that `verify` prints link to the equations that they are about."""

    default_priority = 3
    formats = ("html",)

    def run(self, **kwargs: Any) -> None:
        for block in list(self.document.findall(nodes.literal_block)):
            lines = block.astext().rstrip("\n").split("\n")
            if "stream" in block.get("classes", []) and any(map(grammar.is_tick, lines)):
                runs = groupby(lines, key=grammar.is_tick)
                parts = [self.part(ticks, list(run)) for ticks, run in runs]
                block.parent.replace(block, _raw("".join(parts)))

    def part(self, ticks: bool, lines: list[str]) -> str:
        if not ticks:
            return f'<pre class="plain-output">{html.escape(chr(10).join(lines))}</pre>'
        rows = "".join(f"<li>{self.row(line)}</li>" for line in lines)
        return f'<ul class="ticks">{rows}</ul>'

    def row(self, line: str) -> str:
        tick = grammar.TICK.fullmatch(line)
        assert tick is not None
        label, rest = tick["label"], html.escape(line.partition(":")[2])
        number = _numbers(self.env).get(label)
        name = f'<a href="#equation-{label}">({number}) {label}</a>' if number else label
        return f'<span class="tick">✓</span> <span>{name}:{rest}</span>'


class FoldedChecks(SphinxPostTransform):
    """A checking cell shows its tick; its code opens below, from a line that says what it is."""

    default_priority = 2  # before the ticks lose their text
    formats = ("html",)

    def run(self, **kwargs: Any) -> None:
        cells = [
            cell
            for cell in self.document.findall(nodes.container)
            if cell.get("nb_element") == "cell_code" and f"tag_{grammar.CHECK}" in cell["classes"]
        ]
        checks = [[call.label for call in grammar.verified(_code(cell))] for cell in cells]
        labels = grammar.fold_labels(checks, _numbers(self.env))
        for cell, label in zip(cells, labels, strict=True):
            parts = {part.get("nb_element"): part for part in cell.children}
            code = parts["cell_code_source"]
            cell.remove(code)
            summary = f"<summary>{html.escape(label)}</summary>"
            cell.extend([_raw(f'<details class="check">{summary}'), code, _raw("</details>")])


def _code(cell: nodes.Node) -> str:
    return "\n".join(
        part.astext() for part in cell.children if part.get("nb_element") == "cell_code_source"
    )


def _numbers(env: Any) -> dict[str, str]:
    """Label -> number of the equations of the page that is being written."""
    objects = env.get_domain("math").data["objects"]
    return {label: str(n) for label, (page, n) in objects.items() if page == env.docname}


def number_equations(app: Sphinx, doctree: nodes.document) -> None:
    """Equations count within their chapter: (4.1), (4.2), …"""
    chapter = grammar.chapter_number(app.env.docname)
    domain = app.env.get_domain("math")
    labeled = [node for node in doctree.findall(nodes.math_block) if node.get("label")]
    for count, node in enumerate(labeled, 1):
        node["number"] = f"{chapter}.{count}" if chapter else str(count)
        domain.data["objects"][node["label"]] = (app.env.docname, node["number"])


def name_chapter(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: Any
) -> None:
    """A chapter's number stands above its title."""
    number = grammar.chapter_number(pagename)
    if doctree is not None and number and "body" in context:
        kicker = f'<p class="chapter-number">Chapter {number}</p>\n<h1>'
        context["body"] = context["body"].replace("<h1>", kicker, 1)


def _raw(text: str) -> nodes.raw:
    return nodes.raw("", text, format="html")


@cache
def has_deck(page: Path) -> bool:
    """Whether a page is a notebook of which tools/slides.py makes a deck."""
    return page.suffix == ".ipynb" and grammar.has_deck(grammar.cells(page))


def link_deck(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: Any
) -> None:
    """A button in the header of every chapter that has slides."""
    if doctree is None or not has_deck(Path(app.env.doc2path(pagename))):
        return
    deck = f"slides/{Path(pagename).name}.html"
    button = {
        "type": "link",
        "text": "Slides",
        "tooltip": "This chapter as slides",
        "icon": ICON,
        "label": "slides-button",
        "url": context["pathto"](deck, 1),
    }
    context.setdefault("header_buttons", []).insert(0, button)


def drop_double_scripts(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: Any
) -> None:
    """Sphinx lists inline scripts twice, and a second `const` of the same name is an error."""
    seen, kept = set(), []
    for script in context.get("script_files", []):
        key = (str(script.filename or ""), tuple(sorted(script.attributes.items())))
        if key not in seen:
            seen.add(key)
            kept.append(script)
    context["script_files"][:] = kept


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_post_transform(StillBehindWidget)
    app.add_post_transform(FoldedChecks)
    app.add_post_transform(Ticks)
    app.connect("doctree-read", number_equations)
    app.connect("html-page-context", name_chapter)
    app.connect("html-page-context", link_deck, priority=600)
    app.connect("html-page-context", drop_double_scripts, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
