"""Break the mathematics on purpose and see the checks fail: ``make mutants``.

Each mutant is a copy of the repository with one mistake of the kind that public code contains. At
least one unit test and at least one notebook cell must fail on it; the first of each is printed.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MUTANTS = {
    "the sign of the log-variance in gaussian_kl": (
        "vae_tutorial/kl.py",
        "torch.expm1(log_var) - log_var +",
        "torch.expm1(log_var) + log_var +",
    ),
    "the sign of the squared mean in gaussian_kl": (
        "vae_tutorial/kl.py",
        "- log_var + mu * mu",
        "- log_var - mu * mu",
    ),
    "a mean instead of the sum over dimensions in elbo": (
        "vae_tutorial/objectives.py",
        "Elbo(model.log_likelihood(x, z).mean(0), ",
        "Elbo(model.log_likelihood(x, z).mean(0) / x.shape[-1], ",
    ),
    "the log-variance used as the standard deviation": (
        "vae_tutorial/distributions.py",
        "torch.exp(0.5 * log_var)",
        "torch.exp(log_var)",
    ),
}


def first_failure(command: Sequence[str], folder: Path) -> str | None:
    """Runs pytest in the folder and returns the name of the first test that fails."""
    environment = {**os.environ, "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )
    found = re.search(r"^(?:FAILED|ERROR) (.+?)(?: - .*)?$", done.stdout, re.M)
    if done.returncode == 1 and found:
        return found[1]
    if done.returncode:
        raise RuntimeError(done.stdout[-2000:] + done.stderr[-2000:])
    return None


def suites(folder: Path) -> dict[str, list[str]]:
    """What runs on a mutant, by name: the unit tests, and each notebook by itself."""
    found = {"unit test": ["tests/unit"]}
    for path in sorted((folder / "chapters").glob("*.ipynb")):
        found[path.stem] = [
            "--nbval",
            "--nbval-current-env",
            "--nbval-sanitize-with",
            "tests/sanitize.cfg",
            f"chapters/{path.name}",
        ]
    return found


def main() -> int:
    survivors = []
    for name, (file, right, wrong) in MUTANTS.items():
        print(f"{name}:", flush=True)
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary) / "book"
            shutil.copytree(
                ROOT, folder, ignore=shutil.ignore_patterns(".*", "_build", "*.egg-info")
            )
            text = (folder / file).read_text()
            if text.count(right) != 1:
                raise RuntimeError(f"{file} must contain {right!r} once; adapt tools/break_it.py")
            (folder / file).write_text(text.replace(right, wrong))
            caught = {suite: first_failure(run, folder) for suite, run in suites(folder).items()}
        for suite, test in caught.items():
            print(f"  {suite}: {test or 'nothing fails'}", flush=True)
        notebooks = [test for suite, test in caught.items() if suite != "unit test" and test]
        if not caught["unit test"] or not notebooks:
            survivors.append(name)
    print(f"not caught: {survivors}" if survivors else "every mistake is caught twice")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
