"""A chapter run anew, on two threads, says and shows what is stored (nbval runs it on one).

Numbers that are shown with a tolerance are compared within it; nbval leaves them to this test.
"""

import base64
import configparser
import io
import re
import resource

import nbformat
import numpy as np
import pytest
from PIL import Image

import chapters
from tools import grammar
from tools.execute import execute
from vae_tutorial.book import tables

pytestmark = pytest.mark.slow
LIMIT_SECONDS = 60
SHOWN = ("text/plain", "text/html")


def sanitized(text: str) -> str:
    rules = configparser.ConfigParser(interpolation=None)
    rules.read(chapters.ROOT / "tests" / "sanitize.cfg")
    for name in set(rules.sections()) - {"tolerance"}:
        text = re.sub(rules[name]["regex"], rules[name]["replace"], text)
    return text


def texts(nb) -> list[tuple[str, str]]:
    """(cell id, text) of every output, as it is shown in text and as HTML."""
    found = []
    for cell in nb.cells:
        if "nbval-ignore-output" in grammar.tags(cell):
            continue
        for o in cell.get("outputs", []):
            shown = [o.text] if o.output_type == "stream" else []
            shown += [o.data[mime] for mime in SHOWN if mime in o.get("data", {})]
            found += [(cell.id, text) for text in shown]
    return found


def changes(stored, fresh) -> list[str]:
    """What differs between the outputs of two runs, in words."""
    before, after = texts(stored), texts(fresh)
    if [cell for cell, _ in before] != [cell for cell, _ in after]:
        return ["other cells have outputs"]
    return [
        f"{cell}: {difference}"
        for (cell, old), (_, new) in zip(before, after, strict=True)
        for difference in tables.differences(sanitized(old), sanitized(new))
    ]


def pixels(png: str) -> np.ndarray:
    """The picture on white, in grey, at a quarter of its size: what a glance sees."""
    picture = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGBA")
    paper = Image.new("RGBA", picture.size, "white")
    grey = Image.alpha_composite(paper, picture).convert("L")
    small = grey.resize((max(1, grey.width // 4), max(1, grey.height // 4)), Image.Resampling.BOX)
    return np.asarray(small, dtype=float) / 255


def difference(a: str, b: str) -> float:
    """Root mean square difference of two pictures at a quarter of their size; 1 if sizes differ
    by more than 2 percent."""
    first, second = pixels(a), pixels(b)
    rows, columns = np.minimum(first.shape, second.shape)
    if max(*first.shape, *second.shape) > 1.02 * max(rows, columns):
        return 1.0
    gap = first[:rows, :columns] - second[:rows, :columns]
    return float(np.sqrt((gap**2).mean()))


@pytest.mark.parametrize("path", chapters.CHAPTERS, ids=lambda p: p.stem)
def test_a_fresh_run_is_like_the_stored_one(path):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    fresh = execute(path, threads=2)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    # processor time: other work on the machine does not count
    assert 1 < after.ru_utime - before.ru_utime < LIMIT_SECONDS
    assert changes(chapters.notebook(path), fresh) == []
    new = [
        (c.id, o.data["image/png"])
        for c in fresh.cells
        if c.cell_type == "code"
        for o in c.outputs
        if "image/png" in o.get("data", {})
    ]
    stored = chapters.pictures(path)
    assert [cell for cell, _ in new] == [cell for cell, _ in stored]
    gaps = {cell: difference(a, b) for (cell, a), (_, b) in zip(new, stored, strict=True)}
    assert max(gaps.values()) < 0.08, gaps


def with_table(value: float, tolerance: float) -> nbformat.NotebookNode:
    """A notebook whose one output is a table with one number."""
    shown = tables.table({"ELBO": tables.about(value, tolerance)}, "nats", digits=1)
    data = {"text/plain": repr(shown), "text/html": shown._repr_html_()}
    cell = nbformat.v4.new_code_cell(
        "table()", id="a", outputs=[nbformat.v4.new_output("execute_result", data)]
    )
    return nbformat.v4.new_notebook(cells=[cell])


def test_a_number_may_move_within_its_tolerance_and_no_further():
    stored = with_table(-20.9, 0.5)
    assert changes(stored, with_table(-20.9, 0.5)) == []
    assert changes(stored, with_table(-20.4, 0.5)) == []
    assert changes(stored, with_table(-9.9, 20)) != []
    assert changes(stored, with_table(-20.3, 0.5)) == ["a: −20.9 ± 0.5 is now −20.3 ± 0.5"] * 2


def test_the_difference_sees_a_changed_figure():
    """The tolerance admits a shift by one pixel and refuses another curve."""

    def drawn(curve) -> str:
        image = np.full((300, 400), 255, np.uint8)
        for x in range(400):
            y = int(curve(x))
            image[max(0, y - 6) : y + 6, x] = 0
        file = io.BytesIO()
        Image.fromarray(image).save(file, "png")
        return base64.b64encode(file.getvalue()).decode()

    line = drawn(lambda x: 50 + x / 2)
    assert difference(line, line) == 0
    assert difference(line, drawn(lambda x: 51 + x / 2)) < 0.08
    assert difference(line, drawn(lambda x: 250 - x / 2)) > 0.15
