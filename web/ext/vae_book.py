"""What this book adds to Sphinx: still pictures behind widgets, ticks, links to the slides.

It numbers equations by chapter, and takes out scripts that Sphinx lists twice: the second would be
an error in the reader's browser.
"""

from __future__ import annotations

import html
import json
import re
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform

VIEW = "application/vnd.jupyter.widget-view+json"
TICK = re.compile(r"✓ (?P<label>[\w-]+)(?P<rest>.*)")
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
            text = block.astext().rstrip("\n")
            if "stream" in block.get("classes", []) and TICK.search(text):
                runs = groupby(text.split("\n"), key=lambda line: bool(TICK.fullmatch(line)))
                parts = [self.part(ticks, list(lines)) for ticks, lines in runs]
                block.parent.replace(block, _raw("".join(parts)))

    def part(self, ticks: bool, lines: list[str]) -> str:
        if not ticks:
            return f'<pre class="plain-output">{html.escape(chr(10).join(lines))}</pre>'
        rows = "".join(f"<li>{self.row(m)}</li>" for line in lines if (m := TICK.fullmatch(line)))
        return f'<ul class="ticks">{rows}</ul>'

    def row(self, tick: re.Match[str]) -> str:
        label, rest = tick["label"], html.escape(tick["rest"])
        equation = self.env.get_domain("math").data["objects"].get(label)
        mark = '<span class="tick">✓</span>'
        if equation is None or equation[0] != self.env.docname:
            return f"{mark} <span>{label}{rest}</span>"
        link = f'<a href="#equation-{label}">({equation[1]}) {label}</a>'
        return f"{mark} <span>{link}{rest}</span>"


def chapter_number(docname: str) -> int | None:
    """4 for chapters/04_kl_divergence, None for pages that are no numbered chapter."""
    found = re.match(r"(\d+)_", Path(docname).name)
    return int(found[1]) if found else None


def number_equations(app: Sphinx, doctree: nodes.document) -> None:
    """Equations count within their chapter: (4.1), (4.2), …"""
    chapter = chapter_number(app.env.docname)
    domain = app.env.get_domain("math")
    labeled = [node for node in doctree.findall(nodes.math_block) if node.get("label")]
    for count, node in enumerate(labeled, 1):
        node["number"] = f"{chapter}.{count}" if chapter else str(count)
        domain.data["objects"][node["label"]] = (app.env.docname, node["number"])


def name_chapter(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: Any
) -> None:
    """A chapter's number stands above its title."""
    number = chapter_number(pagename)
    if doctree is not None and number and "body" in context:
        kicker = f'<p class="chapter-number">Chapter {number}</p>\n<h1>'
        context["body"] = context["body"].replace("<h1>", kicker, 1)


def _raw(text: str) -> nodes.raw:
    return nodes.raw("", text, format="html")


@cache
def has_deck(notebook: Path) -> bool:
    """Whether a notebook starts a slide anywhere, so that tools/slides.py makes a deck of it."""
    if notebook.suffix != ".ipynb":
        return False
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    types = [cell["metadata"].get("slideshow", {}).get("slide_type") for cell in cells]
    return "slide" in types


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
    app.add_post_transform(Ticks)
    app.connect("doctree-read", number_equations)
    app.connect("html-page-context", name_chapter)
    app.connect("html-page-context", link_deck, priority=600)
    app.connect("html-page-context", drop_double_scripts, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
