"""Run every chapter at other seeds: no asserted claim may depend on the one that is printed.

    python -m tools.robust --offsets 20 chapters/*.ipynb         (make robust)

Every seed of a chapter adds VAE_TUTORIAL_SEED_OFFSET; outputs are thrown away.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from nbclient.exceptions import CellExecutionError

from tools.execute import execute, explain


def run_offset(path: Path, offset: int) -> str | None:
    """The error report of one chapter at one offset, or None."""
    try:
        execute(path, extra_environment={"VAE_TUTORIAL_SEED_OFFSET": str(offset)})
    except CellExecutionError as error:
        return f"seed offset {offset}: {explain(path, error)}"
    return None


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("notebooks", nargs="*", type=Path)
    parser.add_argument("--offsets", type=int, default=20, help="how many: 1, 2, …")
    parser.add_argument("--first", type=int, default=1, help="the first offset")
    parser.add_argument("--jobs", type=int, default=max(1, (os.cpu_count() or 2) // 2))
    options = parser.parse_args(arguments)
    offsets = range(options.first, options.first + options.offsets)
    reports = []
    for path in options.notebooks:
        start = time.perf_counter()
        with ThreadPoolExecutor(options.jobs) as pool:
            found = [r for r in pool.map(lambda o, p=path: run_offset(p, o), offsets) if r]
        reports += found
        seconds = time.perf_counter() - start
        print(
            f"{path}: {len(found)} of {len(offsets)} offsets failed ({seconds:.0f} s)", flush=True
        )
    print("\n".join(reports), file=sys.stderr)
    return 1 if reports else 0


if __name__ == "__main__":
    sys.exit(main())
