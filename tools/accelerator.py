"""Run notebooks on a pretend accelerator: no cell may mix devices, though no GPU is at hand.

    python -m tools.accelerator chapters/*.ipynb         (make accelerator)

Everything is made on the device of tests/accelerator/pretend_accelerator.py; outputs are thrown
away.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import nbformat
from nbclient.exceptions import CellExecutionError

from tools.execute import execute, explain

ROOT = Path(__file__).resolve().parents[1]
DOUBLE = ROOT / "tests" / "accelerator"
REGISTER = "import pretend_accelerator"
REPORT = "print(pretend_accelerator.operations)"


def run(path: Path) -> int:
    """How many operations a notebook computed on the device.

    Raises:
        CellExecutionError: a cell raised.
    """
    nb = nbformat.read(path, as_version=4)
    cell = nbformat.v4.new_code_cell
    nb.cells = [cell(REGISTER), *nb.cells, cell(REPORT)]
    folders = [str(DOUBLE), str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {"PYTHONPATH": os.pathsep.join(folders), "VAE_TUTORIAL_DEVICE": "pretend"}
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / path.name
        nbformat.write(nb, copy)
        done = execute(copy, extra_environment=environment)
    return int(done.cells[-1].outputs[0].text)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("notebooks", nargs="*", type=Path)
    failed = 0
    for path in parser.parse_args(arguments).notebooks:
        start = time.perf_counter()
        try:
            operations = run(path)
        except CellExecutionError as error:
            failed += 1
            print(explain(path, error), file=sys.stderr)
            continue
        seconds = time.perf_counter() - start
        print(f"{path}: {operations:,} operations on the device ({seconds:.0f} s)", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
