"""The grammar of chapters: what the extension, the tools and the other contracts read alike."""

import json
import subprocess
import sys

import pytest

import chapters
from tools import contents, grammar
from tools.count import main as count


def markdown(source, **metadata):
    return {"cell_type": "markdown", "metadata": metadata, "source": source}


def code(source, *tags):
    return {"cell_type": "code", "metadata": {"tags": list(tags)}, "source": source, "outputs": []}


def test_equations_are_numbered_within_their_chapter():
    text = "$$\na\n$$ (def-a)\n\ntext\n\n$$\nb \\\\\nc\n$$ (eq-b)\n\n$$\nno label\n$$\n"
    assert grammar.equations(text) == {"def-a": "a", "eq-b": "b \\\\\nc"}
    assert grammar.numbers(text, "04_kl.ipynb") == {"def-a": "4.1", "eq-b": "4.2"}
    assert grammar.numbers(text, "notation.md") == {"def-a": "1", "eq-b": "2"}
    assert grammar.numbers(text, "03b_more.ipynb") == {"def-a": "3b.1", "eq-b": "3b.2"}


@pytest.mark.parametrize("method", ["proved", "computed", "sampled"])
def test_a_tick_says_what_was_done(method):
    tick = grammar.TICK.fullmatch(f"✓ eq-a-b: {method} with X; 2 wrong neighbors rejected")
    assert (tick["label"], tick["method"], tick["wrong"]) == ("eq-a-b", method, "2")


@pytest.mark.parametrize(
    "line",
    [
        "✓ three epochs of this loop",
        "✓ eq-a: checked; 1 wrong neighbor rejected",
        "✓ eq-a: proved",
        "exercise 1: ✓ right",
    ],
)
def test_no_other_line_is_a_tick(line):
    assert not grammar.is_tick(line)


def test_checks_are_read_from_code_with_magics():
    cell = """
%pip install something
verify(
    "eq-one", identical(a, b), wrong=identical(a, c))
if x:
    !ls
verify("eq-two", same(3), wrong=[close(a, b)])
verify("eq-three", estimates(s, t), wrong=at_most(s, t))
"""
    assert grammar.verified(cell) == [
        ("eq-one", "proved"),
        ("eq-two", None),
        ("eq-three", "sampled"),
    ]
    assert grammar.verified("say('verify(\"eq-one\")')") == []


def test_labels_of_folds_differ():
    checks = [["eq-a"], ["eq-a", "eq-b"], ["eq-a"], ["eq-b", "eq-b"], []]
    assert grammar.fold_labels(checks, {"eq-a": "4.1", "eq-b": "4.2"}) == [
        "How (4.1) is checked, 1 of 2",
        "How (4.1) and (4.2) are checked",
        "How (4.1) is checked, 2 of 2",
        "How (4.2) is checked",
        "How this is checked",
    ]


@pytest.mark.parametrize("path", chapters.CHAPTERS, ids=lambda p: p.stem)
def test_every_fold_of_a_chapter_has_its_own_label(path):
    cells = [c for c in chapters.code_cells(path) if grammar.is_check(c)]
    labels = [[call.label for call in grammar.verified(c.source)] for c in cells]
    made = grammar.fold_labels(labels, grammar.numbers(chapters.markdown(path), path.name))
    assert len(set(made)) == len(made) and all("(" in label for label in made)


def test_names_that_a_cell_makes_and_needs():
    source = """
import math
x = y + 1
for k in range(3):
    x += k
def f(a):
    return a * scale
with open(path) as file:
    q = load(file)
    q.shape
"""
    made, used = grammar.names(source)
    assert {"math", "x", "k", "f", "file", "q"} <= made
    assert {"y", "scale", "path", "load"} <= used and not used & {"x", "q", "a", "file"}


PAGE = [
    markdown("# Title\n\n**What is asked here?**\n\nOne two $x + y$ three {eq}`eq-a`."),
    markdown("$$\na = b\n$$ (eq-a)\n\n```{note}\nfour five\n```\n"),
    markdown("```{admonition} Solution 1\n:class: dropdown\n\nno word\n\n~~~python\nx\n~~~\n```"),
    code("a = 1\n\nb = 2"),
    code("verify('eq-a', c)", "check"),
    code("import sys", "hide-input"),
]  # fmt: skip


def test_only_what_is_visible_is_counted(tmp_path, capsys):
    # title 1, question 4, two three-word parts, a formula, a reference, an equation, a note
    assert grammar.visible_words(PAGE) == 1 + 4 + 3 + 1 + 1 + 1 + 2
    assert grammar.visible_lines(PAGE) == 2
    path = tmp_path / "page.ipynb"
    path.write_text(json.dumps({"cells": PAGE}))
    assert count([str(path)]) == 0
    assert "13 words and 2 lines of code visible" in capsys.readouterr().out


def test_title_and_question_are_read_from_the_first_cell():
    text = grammar.markdown(PAGE)
    assert grammar.title(text) == "Title"
    assert grammar.question(text) == "What is asked here?"
    assert grammar.question("# Title\n\nNo question, only **bold** words.") is None


def test_the_sphinx_extension_finds_the_grammar_from_any_folder(tmp_path):
    extension = chapters.ROOT / "web" / "ext"
    script = "import sys; sys.path.insert(0, sys.argv[1]); import vae_book; vae_book.grammar.TICK"
    subprocess.run([sys.executable, "-c", script, str(extension)], cwd=tmp_path, check=True)


def test_the_lists_of_chapters_are_fresh():
    for path, text in contents.pages().items():
        assert path.read_text(encoding="utf-8") == text, "run python -m tools.contents"


def test_a_list_of_chapters_comes_from_the_toc_and_the_notebooks(tmp_path):
    (tmp_path / "_toc.yml").write_text(
        "parts:\n- chapters:\n  - file: chapters/09_b\n    title: 9. Shorter\n"
        "  - file: chapters/08_a\n  - file: chapters/notation\n"
    )
    folder = tmp_path / "chapters"
    folder.mkdir()
    for name in ("08_a", "09_b"):
        (folder / f"{name}.ipynb").write_text(json.dumps({"cells": PAGE}))
    for name in ("README.md", "index.md"):
        (tmp_path / name).write_text(f"before\n{contents.START}\nold\n{contents.END}\nafter\n")
    readme, index = contents.pages(tmp_path).values()
    assert readme == (
        "before\n<!-- chapters -->\n| chapter | the question it answers |\n| --- | --- |\n"
        "| 9. [Shorter](chapters/09_b.ipynb) | What is asked here? |\n"
        "| 8. [Title](chapters/08_a.ipynb) | What is asked here? |\n<!-- /chapters -->\nafter\n"
    )
    assert index.index("} 9. Shorter\n:link: chapters/09_b\n") < index.index("} 8. Title")


def test_a_list_needs_its_marks_and_a_chapter_its_question(tmp_path):
    with pytest.raises(ValueError, match="needs the marks"):
        contents.rewritten("no marks", "list")
    (tmp_path / "_toc.yml").write_text("parts:\n- chapters:\n  - file: 08_a\n")
    (tmp_path / "08_a.ipynb").write_text(json.dumps({"cells": [markdown("# Title\n\nText.")]}))
    with pytest.raises(ValueError, match="08_a.ipynb needs a heading and, below it, its question"):
        contents.chapters(tmp_path)
