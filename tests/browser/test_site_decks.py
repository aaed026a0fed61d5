"""The slide decks: they render, fit 1280 x 720, and can be read without scripts."""

from __future__ import annotations

import re

import pytest
from built_site import HTML, Visit, decks

RESIDUES = ("{eq}", "{cite", "{doc}", "```", ":class:", "{note}", "{admonition}")
SLIDE = {"viewport": {"width": 1280, "height": 720}}
MEASURE = """() => [...document.querySelectorAll('.slides section:not(.stack)')].map((s, i) => {
    const [h, v] = [s.parentElement.closest('section') ?? s, s];
    const column = [...document.querySelectorAll('.slides > section')].indexOf(h);
    const row = h === v ? 0 : [...h.children].indexOf(v);
    Reveal.slide(column, row, 1000);
    const box = s.getBoundingClientRect(), scale = Reveal.getScale();
    const inside = [...s.querySelectorAll('*')]
        .filter((e) => !e.closest('mjx-assistive-mml, aside, .vx-live'));
    const right = Math.max(...inside.map((e) => e.getBoundingClientRect().right), 0);
    return {slide: i + 1, heading: s.querySelector('h1, h2, h3')?.innerText,
            height: Math.round(s.scrollHeight), width: Math.round((right - box.left) / scale)};
})"""


def test_every_chapter_with_slides_has_a_deck_and_links_to_it():
    for chapter in HTML.glob("chapters/*.html"):
        links = re.findall(r'href="\.\./(slides/[^"]+)"', chapter.read_text(encoding="utf-8"))
        assert all((HTML / link).exists() for link in links)
        assert bool(links) == (f"slides/{chapter.name}" in decks()), chapter.name


@pytest.mark.parametrize("visit", [SLIDE], indirect=True)
def test_deck_renders_fits_and_shows_no_markup(visit: Visit, deck: str):
    page = visit.open(deck)
    page.wait_for_selector(".reveal.ready")
    assert visit.errors == []
    assert page.locator("mjx-merror").count() == 0
    if "$$" in (HTML / deck).read_text(encoding="utf-8"):
        assert page.locator("mjx-container").count() > 0
    slides = page.evaluate(MEASURE)
    too_large = [s for s in slides if s["height"] > 720 or s["width"] > 1280]
    assert not too_large, "\n".join(map(str, too_large))
    text = page.evaluate("document.querySelector('.slides').textContent")
    assert not [residue for residue in RESIDUES if residue in text]
    assert "verify(" not in text and page.locator(".ticks").count() > 0
    without = page.eval_on_selector_all("img", "all => all.filter((i) => !i.alt.trim()).length")
    assert without == 0


@pytest.mark.parametrize("visit", [{**SLIDE, "java_script_enabled": False}], indirect=True)
def test_deck_is_a_readable_page_without_scripts(visit: Visit, deck: str):
    page = visit.page
    page.goto(visit.site + deck)
    sections = page.locator(".slides section")
    assert sections.count() > 1
    assert sections.last.is_visible()
