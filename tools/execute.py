"""Run notebooks and store their outputs and widget state, byte for byte the same each time.

    python -m tools.execute chapters/*.ipynb              in place (make chapters)
    python -m tools.execute --out DIR chapters/*.ipynb    to another folder

A failing cell leaves the notebook as it was. A hash of what the outputs depend on is stored in the
notebook (tools/fingerprint.py), and a test compares it with the code of the day.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import re
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode

from tools.count import counts
from tools.fingerprint import fingerprint

STATE = "application/vnd.jupyter.widget-state+json"
VIEW = "application/vnd.jupyter.widget-view+json"
KEPT_PNG_CHUNKS = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", b"pHYs", b"gAMA", b"sRGB"}


def execute(
    path: Path,
    *,
    threads: int = 1,
    timeout: int = 600,
    extra_environment: Mapping[str, str] | None = None,
) -> NotebookNode:
    """The notebook with fresh outputs; the file is not touched.

    Raises:
        CellExecutionError: a cell raised.
    """
    nb = nbformat.read(path, as_version=4)
    environment = {**os.environ, **(extra_environment or {})}
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        environment[name] = str(threads)
    environment["OMP_WAIT_POLICY"] = "passive"  # else threads spin, and starve on a busy machine
    for name in ("COLUMNS", "MPLBACKEND"):  # a narrow terminal or no figures would show
        environment.pop(name, None)
    client = NotebookClient(
        nb,
        timeout=timeout,
        kernel_name="python3",
        record_timing=False,
        store_widget_state=True,
        coalesce_streams=True,
        resources={"metadata": {"path": str(path.resolve().parent)}},
    )
    client.execute(env=environment)
    return stabilize(nb)


def stabilize(nb: NotebookNode) -> NotebookNode:
    """Take out what differs from run to run: ids of widgets, versions, metadata of pictures."""
    nb.metadata["language_info"] = {"name": "python"}
    nb.metadata["kernelspec"] = {
        "display_name": "Python 3",
        "language": "python",
        "name": "python3",
    }
    for cell in nb.cells:
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                png = base64.b64decode(output.data["image/png"])
                output.data["image/png"] = base64.b64encode(_bare_png(png)).decode()
    nb = _rename_widgets(nb)
    nb.metadata["vae_tutorial"] = {"source": fingerprint(nb)}
    return nb


def write(nb: NotebookNode, path: Path) -> None:
    """Replace the file in one step, so that an interruption leaves the old one whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(
        "w", dir=path.parent, prefix=".", suffix=".ipynb", delete=False, encoding="utf-8"
    ) as file:
        try:
            nbformat.validate(nb)
            nbformat.write(nb, file)
            file.close()
            mode = path.stat().st_mode & 0o777 if path.exists() else 0o644
            Path(file.name).chmod(mode)
            os.replace(file.name, path)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise


def _bare_png(png: bytes) -> bytes:
    """The picture without its text chunks, which name the software that drew it."""
    out, at = png[:8], 8
    while at < len(png):
        end = at + 12 + int.from_bytes(png[at : at + 4], "big")
        if png[at + 4 : at + 8] in KEPT_PNG_CHUNKS:
            out += png[at:end]
        at = end
    return out


def _rename_widgets(nb: NotebookNode) -> NotebookNode:
    """Number the random widget ids in order of first use; drop models that no view needs."""
    state: dict[str, Any] = nb.metadata.get("widgets", {}).get(STATE, {}).get("state", {})
    outputs = [
        o for cell in nb.cells for o in cell.get("outputs", []) if VIEW in o.get("data", {})
    ]
    order: dict[str, str] = {}
    queue = [o.data[VIEW]["model_id"] for o in outputs]
    while queue:
        model = queue.pop(0)
        if model in state and model not in order:
            order[model] = f"{len(order):032x}"
            text = json.dumps(state[model]["state"], sort_keys=True)
            queue = re.findall("IPY_MODEL_([0-9a-f]{32})", text) + queue
    if not order:
        nb.metadata.pop("widgets", None)
        return nb
    nb.metadata["widgets"][STATE]["state"] = {m: state[m] for m in order}
    text = nbformat.writes(nb)
    renamed = re.sub("|".join(order), lambda found: order[found[0]], text)
    return nbformat.reads(renamed, as_version=4)


def explain(path: Path, error: CellExecutionError) -> str:
    """One short report of the cell that failed."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", str(error)).strip()
    return f"{path}: a cell failed, the file is unchanged\n{plain}\n"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("notebooks", nargs="*", type=Path)
    parser.add_argument("--out", type=Path, help="write here instead of in place")
    parser.add_argument("--threads", type=int, default=1, help="threads of the computation")
    parser.add_argument("--timeout", type=int, default=600, help="seconds that a cell may take")
    options = parser.parse_args(arguments)
    failed = 0
    for path in options.notebooks:
        start = time.perf_counter()
        try:
            nb = execute(path, threads=options.threads, timeout=options.timeout)
        except CellExecutionError as error:
            failed += 1
            print(explain(path, error), file=sys.stderr)
            continue
        target = options.out / path.name if options.out else path
        write(nb, target)
        seconds, size = time.perf_counter() - start, target.stat().st_size >> 10
        print(f"{target}: {seconds:.0f} s, {size} KiB, {counts(target)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
