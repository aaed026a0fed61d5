"""What every chapter is: its parts, outputs, sizes, links, slides and words."""

import base64
import re

import pytest

import chapters
from chapters import ROOT, code_cells, markdown, notebook
from tools import grammar
from tools.fingerprint import fingerprint

each_chapter = pytest.mark.parametrize("path", chapters.CHAPTERS, ids=lambda p: p.stem)


def test_there_are_chapters():
    assert len(chapters.CHAPTERS) >= 2


@each_chapter
def test_parts_come_in_order(path):
    text = markdown(path)
    assert text.startswith("# ")
    parts = ["What goes wrong", "Exercises", "Summary", "Where next"]
    at = [text.index(f"\n## {part}") for part in parts]
    assert at == sorted(at)
    opening = text[: text.index("\n## ")]
    assert re.search(r"\d+ minutes", opening), "say how many minutes the chapter takes"


@each_chapter
def test_the_setup_cell_comes_first_and_installs_only_on_colab(path):
    address = re.search(
        r'^Repository = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.M
    ).group(1)
    setup = code_cells(path)[0]
    assert "hide-input" in grammar.tags(setup)
    assert setup.source.startswith(
        'import sys\n\nif "google.colab" in sys.modules:\n'
        f'    %pip install --quiet "vae_tutorial[book] @ git+{address}"\n'
    )


@each_chapter
def test_outputs_are_present_and_fresh(path):
    cells = code_cells(path)
    assert [c.execution_count for c in cells] == list(range(1, len(cells) + 1))
    assert not [c.id for c in cells for o in c.outputs if o.output_type == "error"]
    stored = notebook(path).metadata["vae_tutorial"]["source"]
    assert stored == fingerprint(notebook(path)), "stale outputs: run make chapters"


@each_chapter
def test_the_notebook_names_no_machine(path):
    text = path.read_text()
    assert path.stat().st_size <= 1_500_000
    assert set(notebook(path).metadata["language_info"]) == {"name"}
    assert not re.search(r"/(home|root|tmp|usr|work|content)/\w|site-packages", text)
    assert not re.search(r"0x[0-9a-f]{6,}", text), "an object's address in an output"


@each_chapter
def test_figures_have_alt_text(path):
    for cell in code_cells(path):
        if any("image/png" in o.get("data", {}) for o in cell.outputs):
            alt = grammar.alt(cell)
            assert len(alt) >= 30, f"cell {cell.id}: say in words what the figure shows"
            assert not alt.lower().startswith(("figure", "image of", "picture of"))


@each_chapter
def test_figures_are_not_blank(path):
    assert chapters.pictures(path)
    for cell, png in chapters.pictures(path):
        assert len(base64.b64decode(png)) > 2_000, cell


@each_chapter
def test_code_is_short_enough_to_read(path):
    for cell in code_cells(path):
        lines = cell.source.splitlines()
        assert len(lines) <= 28, f"cell {cell.id} has {len(lines)} lines"
        long = [line for line in lines if len(line) > 78 and "git+https" not in line]
        assert not long, f"cell {cell.id}: {long}"


@each_chapter
def test_only_the_allowed_markup_is_used(path):
    """Plain Jupyter, Colab and GitHub show the rest as raw text."""
    text = markdown(path)
    assert {role for role, _ in grammar.ROLE.findall(text)} <= grammar.ROLES
    assert {name for _, name in grammar.FENCE.findall(text)} <= grammar.DIRECTIVES
    assert not re.search(r"^\[\^|^\(\w[\w-]*\)=$|^:::|^\+\+\+", text, re.M)


@each_chapter
def test_references_resolve(path):
    labels = {label for p in chapters.CHAPTERS for label in chapters.equations(p)}
    keys = set(re.findall(r"^@\w+\{([\w-]+),", (ROOT / "references.bib").read_text(), re.M))
    for role, target in grammar.ROLE.findall(markdown(path)):
        target = re.sub(r"^.*<(.+)>$", r"\1", target)
        if role == "eq":
            assert target in labels, target
        elif role == "doc":
            document = (path.parent / target).resolve()
            assert any(document.with_suffix(s).is_file() for s in (".ipynb", ".md")), target
        else:
            assert set(target.replace(" ", "").split(",")) <= keys, target


@each_chapter
def test_every_cell_has_its_place_in_the_deck(path):
    cells = notebook(path).cells
    assert all("slide_type" in c.metadata.get("slideshow", {}) for c in cells)
    kinds = [grammar.slide_type(c) for c in cells]
    assert set(kinds) <= grammar.SLIDE_TYPES
    starts = [c for c, kind in zip(cells, kinds, strict=True) if kind in ("slide", "subslide")]
    assert 12 <= len(starts) <= 45, f"{len(starts)} slides for 20 to 40 minutes"
    silent = [
        c.id
        for c, kind in zip(cells, kinds, strict=True)
        if kind == "slide" and not grammar.slide(c).get("notes")
    ]
    assert not silent, f"slides without speaker notes: {silent}"


@each_chapter
def test_seeds_come_from_one_place(path):
    code = "\n".join(c.source for c in code_cells(path))
    assert not re.search(
        r"torch\.manual_seed|np\.random\.seed|(seed|rng)=\d|default_rng\(\d", code
    )


@each_chapter
def test_the_text_knows_no_notes_but_its_own(path):
    """Errors of others are told without their source; the reader has no lecture notes."""
    own = [c.metadata.get("slide", {}) for c in notebook(path).cells]
    slides = "\n".join(f"{s.get('text', '')}\n{s.get('notes', '')}" for s in own)
    text = f"{markdown(path)}\n{slides}"
    assert not re.search(r"lecture notes|\b[Tt]he notes\b|behind this book", text)


@each_chapter
def test_the_text_shows_no_workshop(path):
    assert not re.search(r"\b(TODO|FIXME|XXX|TBD|simply|obviously|trivially)\b", markdown(path))
