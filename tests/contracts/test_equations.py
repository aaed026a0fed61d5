"""Every equation that claims something is checked on its page, and registered."""

import pytest

import chapters

METHODS = {
    "proof": "proved with SymPy",
    "number": "equal within",
    "inequality": "at most",
    "monte-carlo": "estimated within",
}
each_chapter = pytest.mark.parametrize("path", chapters.CHAPTERS, ids=lambda p: p.stem)


@each_chapter
def test_every_label_is_of_a_form_that_the_other_tests_read(path):
    """An equation that escapes the reader of this file would escape its check."""
    found = {a or b for a, b in chapters.LABEL.findall(chapters.markdown(path))}
    assert found == set(chapters.equations(path)), "write labels as $$\\n...\\n$$ (eq-name)"
    assert found, "a chapter without a labeled equation"


@each_chapter
def test_every_claim_is_verified_and_ticked(path):
    claims = {label for label in chapters.equations(path) if label.startswith("eq-")}
    code = "\n".join(c.source for c in chapters.code_cells(path))
    assert claims == set(chapters.VERIFY.findall(code))
    assert claims == set(chapters.ticks(path)), "labels without a stored tick"


@each_chapter
def test_the_register_holds_what_the_chapter_says(path):
    """No equation is edited without its check being read again."""
    claims = {k: v for k, v in chapters.equations(path).items() if k.startswith("eq-")}
    mine = {k: v for k, v in chapters.register().items() if v["chapter"] == path.stem}
    assert {k: v["latex"].strip() for k, v in mine.items()} == claims
    for label, how in chapters.ticks(path).items():
        entry = mine[label]
        assert how.startswith(METHODS[entry["method"]]), f"{label}: {entry['method']}, but {how}"
        assert len(entry["wrong"].split()) >= 3, f"{label}: say which wrong neighbor is rejected"


def test_the_register_names_only_chapters_that_exist():
    stems = {path.stem for path in chapters.CHAPTERS}
    assert {entry["chapter"] for entry in chapters.register().values()} <= stems


def test_labels_are_unique_in_the_book():
    labels = [label for path in chapters.CHAPTERS for label in chapters.equations(path)]
    assert len(labels) == len(set(labels))
