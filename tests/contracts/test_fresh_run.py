"""A chapter run anew, on two threads, says and shows what is stored (nbval runs it on one)."""

import base64
import configparser
import io
import re
import resource

import numpy as np
import pytest
from PIL import Image

import chapters
from tools.execute import execute

pytestmark = pytest.mark.slow
LIMIT_SECONDS = 60


def sanitized(text: str) -> str:
    rules = configparser.ConfigParser(interpolation=None)
    rules.read(chapters.ROOT / "tests" / "sanitize.cfg")
    for name in rules.sections():
        text = re.sub(rules[name]["regex"], rules[name]["replace"], text)
    return text


def texts(nb) -> list[tuple[str, str]]:
    found = []
    for cell in nb.cells:
        for o in cell.get("outputs", []):
            if "nbval-ignore-output" in cell.metadata.get("tags", []):
                continue
            text = o.text if o.output_type == "stream" else o.data.get("text/plain", "")
            found.append((cell.id, sanitized(text)))
    return found


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
    assert texts(fresh) == texts(chapters.notebook(path))
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
