"""Every page of the built site: nothing from elsewhere, no errors, readable on any screen."""

from __future__ import annotations

import re

import pytest
from built_site import HTML, Visit, pages

PHONE = {"viewport": {"width": 375, "height": 812}, "is_mobile": True, "has_touch": True}
MAX_PAGE_BYTES = 2_500_000  # beyond the scripts and styles that pages share
SHARED = ("_static/",)


def test_the_site_has_its_pages(site: str):
    assert {"index.html", "chapters/notation.html", "chapters/references.html"} <= set(pages())


def test_page_is_complete_and_self_contained(visit: Visit, path: str):
    page = visit.open(path)
    assert visit.errors == []
    if "math notranslate" in (HTML / path).read_text(encoding="utf-8"):
        assert page.locator("mjx-container").count() > 0
        assert page.locator("mjx-merror").count() == 0
    pictures = page.eval_on_selector_all("img", "all => all.map(i => [i.src, i.alt.trim()])")
    assert [src for src, alt in pictures if not alt] == []
    text = page.locator("body").inner_text()
    assert not [residue for residue in ("{eq}", "{cite", "{doc}", "```") if residue in text]
    own = sum(n for url, n in visit.sizes.items() if not url.startswith(SHARED))
    assert own <= MAX_PAGE_BYTES, f"{own} bytes"


@pytest.mark.parametrize("visit", [PHONE], indirect=True)
def test_page_fits_a_phone(visit: Visit, path: str):
    page = visit.open(path)
    assert visit.errors == []
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= 375, f"the page is {width} px wide"


@pytest.mark.parametrize("visit", [{"color_scheme": "dark"}], indirect=True)
def test_theme_follows_the_system_and_the_button(visit: Visit):
    page = visit.open("index.html")
    theme = "document.documentElement.dataset.theme"
    assert page.evaluate(theme) == "dark"
    button = page.locator("button.theme-switch-button").first
    seen = set()
    for _ in range(3):
        button.click()
        seen.add(page.evaluate(theme))
    assert seen == {"light", "dark"}
    assert visit.errors == []


@pytest.mark.parametrize("word", ["divergence", "latent"])
def test_search_finds_a_word(visit: Visit, word: str):
    page = visit.open(f"search.html?q={word}")
    page.wait_for_selector("#search-results ul.search li", timeout=10_000)
    assert visit.errors == []


def test_every_local_link_leads_somewhere(path: str):
    source = (HTML / path).read_text(encoding="utf-8")
    for link in re.findall(r'<a [^>]*href="([^"#?]+)', source):
        if "://" not in link and not link.startswith("mailto:"):
            target = ((HTML / path).parent / link).resolve()
            assert target.exists(), link


TOO_WIDE = """() => [...document.querySelectorAll('mjx-container[display="true"]')]
    .filter((e) => e.scrollWidth > e.clientWidth + 1)
    .map((e) => `${e.scrollWidth} px in ${e.clientWidth} px: ${e.textContent}`)"""
FONTS = "() => [...document.fonts].filter((f) => f.status === 'error').map((f) => f.family)"


def test_no_equation_is_cut_off_on_a_desktop(visit: Visit, path: str):
    page = visit.open(path)
    for _ in range(40):  # until the fonts have arrived: before, other glyphs stand in
        wide = page.evaluate(TOO_WIDE)
        if not wide:
            break
        page.wait_for_timeout(250)
    assert visit.errors == [] and page.evaluate(FONTS) == []
    assert wide == []


def test_equations_have_one_size_even_without_the_fonts_of_the_text(visit: Visit, path: str):
    """MathJax would take the height of the font that stands in for a late one, and keep it."""
    visit.page.route("**/vendor/fonts/**", lambda route: route.abort())
    page = visit.open(path)
    sizes = page.eval_on_selector_all("mjx-container", "all => all.map(e => e.style.fontSize)")
    assert set(sizes) <= {"110%"}


def test_checks_are_folded_below_their_ticks_and_open_by_keyboard(visit: Visit, path: str):
    page = visit.open(path)
    folds = page.locator("details.check")
    if not folds.count():
        return  # a page without equations to check
    labels = folds.locator("summary").all_inner_texts()
    assert len(set(labels)) == len(labels) and all(s.startswith("How (") for s in labels)
    for cell in page.locator("div.cell.tag_check").all():
        assert cell.locator("ul.ticks li").first.is_visible()
        assert not cell.locator("details.check div.cell_input").is_visible()
    assert "verify(" not in page.locator("article").inner_text()
    summary = folds.first.locator("summary")
    summary.focus()
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Tab")  # focus by keyboard, so that it is shown
    assert summary.evaluate("e => e.matches(':focus-visible')")
    assert summary.evaluate("e => parseFloat(getComputedStyle(e).outlineWidth)") >= 2
    page.keyboard.press("Enter")
    assert "verify(" in folds.first.inner_text()
    assert visit.errors == []


@pytest.mark.parametrize("visit", [PHONE], indirect=True)
def test_tables_of_numbers_have_headers_and_fit_a_phone(visit: Visit):
    page = visit.open("chapters/07_mlp_vae.html")
    tables = page.locator("div.numbers table")
    assert tables.count() >= 3
    for table in tables.all():
        assert table.locator("tbody th[scope=row]").count() == table.locator("tbody tr").count()
        assert table.evaluate("e => e.parentElement.getBoundingClientRect().right") <= 375
