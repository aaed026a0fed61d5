"""Every equation that claims something is checked on its page, and registered."""

import json

import pytest
import yaml

import chapters
from tools import equations, grammar

each_chapter = pytest.mark.parametrize("path", chapters.CHAPTERS, ids=lambda p: p.stem)


def verified(cell):
    return grammar.verified(cell.source)


@each_chapter
def test_every_label_is_of_a_form_that_the_other_tests_read(path):
    """An equation that escapes the reader of this file would escape its check."""
    found = {a or b for a, b in grammar.ANY_LABEL.findall(chapters.markdown(path))}
    assert found == set(chapters.equations(path)), "write labels as $$\\n...\\n$$ (eq-name)"
    assert found, "a chapter without a labeled equation"


@each_chapter
def test_every_claim_is_verified_and_ticked(path):
    claims = {label for label in chapters.equations(path) if label.startswith("eq-")}
    calls = {call.label for c in chapters.code_cells(path) for call in verified(c)}
    assert claims == calls
    assert claims == {label for label, _ in chapters.ticks(path)}, "labels without a stored tick"


@each_chapter
def test_checking_cells_are_tagged_and_only_they(path):
    for cell in chapters.code_cells(path):
        assert grammar.is_check(cell) == bool(verified(cell)), (
            f"cell {cell.id}: a cell has the tag {grammar.CHECK!r} if and only if it calls verify"
        )


@each_chapter
def test_a_line_with_a_tick_is_about_an_equation(path):
    """A reader who sees ✓ may rely on a check with its rejected neighbors."""
    for cell in chapters.code_cells(path):
        lines = chapters.printed(cell)
        wrong = [s for s in lines if s.startswith("✓") and not grammar.is_tick(s)]
        assert not wrong, f"cell {cell.id}: {wrong}"
        assert grammar.is_check(cell) == any(map(grammar.is_tick, lines)), cell.id


@each_chapter
def test_nothing_that_teaches_is_in_a_checking_cell(path):
    """What is folded away prints ticks and nothing else, and no visible cell needs its names."""
    needed: set[str] = set()
    for cell in reversed(chapters.code_cells(path)):
        made, used = grammar.names(cell.source)
        if not grammar.is_check(cell):
            needed = (needed - made) | used
            continue
        assert all(map(grammar.is_tick, chapters.printed(cell))), cell.id
        assert not [o for o in cell.outputs if o.output_type != "stream"], f"{cell.id} shows"
        assert not made & needed, f"cell {cell.id} makes {made & needed}, which the text needs"


@each_chapter
def test_the_register_holds_what_the_chapter_says(path):
    """No equation is edited without its check being read again."""
    claims = {k: v for k, v in chapters.equations(path).items() if k.startswith("eq-")}
    mine = {k: v for k, v in chapters.register().items() if v["chapter"] == path.stem}
    assert {k: v["latex"].strip() for k, v in mine.items()} == claims, "run make equations"
    for label, method in chapters.ticks(path):
        assert mine[label]["method"] == method, f"{label} is {method}"


def test_no_draft_is_left_in_the_register():
    for label, entry in chapters.register().items():
        assert entry["method"] in set(grammar.METHODS.values()), label
        assert equations.DRAFT not in entry["wrong"], f"{label}: {equations.DRAFT}"
        assert len(entry["wrong"].split()) >= 3, f"{label}: say which neighbor is rejected"


def test_the_register_names_only_chapters_that_exist():
    stems = {path.stem for path in chapters.CHAPTERS}
    assert {entry["chapter"] for entry in chapters.register().values()} <= stems


def test_labels_are_unique_in_the_book():
    labels = [label for path in chapters.CHAPTERS for label in chapters.equations(path)]
    assert len(labels) == len(set(labels))


# the command that drafts entries

PAGE = """# A page

$$
a = b
$$ (eq-new)

$$
c = d
$$ (def-only)
"""


@pytest.fixture
def drafted(tmp_path):
    cells = [
        {"cell_type": "markdown", "metadata": {}, "source": PAGE},
        {"cell_type": "code", "metadata": {}, "source": "verify('eq-new', estimates(x, y))"},
    ]
    path = tmp_path / "12_page.ipynb"
    path.write_text(json.dumps({"cells": cells}))
    return equations.claims(path)


def test_a_draft_says_all_but_the_wrong_neighbor(drafted):
    text, notes = equations.compare({}, drafted)
    assert notes == []
    assert yaml.safe_load(text) == {
        "eq-new": {
            "chapter": "12_page",
            "latex": "a = b\n",
            "method": "sampled",
            "wrong": equations.DRAFT,
        }
    }


def test_an_entry_that_stands_is_named_and_never_changed(drafted):
    old = {"eq-new": {"latex": "a = c"}, "eq-gone": {"latex": "x"}}
    text, notes = equations.compare(old, drafted)
    assert text == "" and len(notes) == 2
    assert notes[0].startswith("eq-new: the LaTeX differs")
    assert notes[1].startswith("eq-gone: no chapter has this equation")
