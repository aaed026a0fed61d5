"""Keep every mention of the repository's address equal to the one in pyproject.toml.

    make address        after a change of `Repository` in pyproject.toml

Every address on GitHub in the project's own files is taken for this repository's, unless FOREIGN
lists it. `differing()` names the mentions that another address has got into; a test uses it.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import nbformat

from tools.fingerprint import fingerprint

ROOT = Path(__file__).resolve().parents[1]
SKIPPED = {".git", ".venv", "_build", "build", "dist", "vendor", "node_modules", "tests"}
SUFFIXES = {".cff", ".css", ".html", ".ipynb", ".j2", ".js", ".md", ".py", ".toml", ".txt", ".yml"}
FOREIGN: set[str] = set()  # owner/name of other projects that a page may link to
NAME = r"[\w-]+(?:\.(?!git\b)[\w-]+)*"  # without the suffix .git
PATTERNS = (
    re.compile(rf"(?<=github\.com/)({NAME})/({NAME})"),
    re.compile(rf"(?<=mybinder\.org/v2/gh/)({NAME})/({NAME})"),
    re.compile(rf"(?<=colab\.research\.google\.com/github/)({NAME})/({NAME})"),
    re.compile(rf"(?<=//)({NAME})\.github\.io/({NAME})"),
)


def repository() -> tuple[str, str]:
    """Owner and name, from the one source."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    owner, name = settings["project"]["urls"]["Repository"].rstrip("/").split("/")[-2:]
    return owner, name


def files() -> Iterator[Path]:
    for path in sorted(ROOT.rglob("*")):
        inside = path.relative_to(ROOT)
        hidden = any(part.startswith(".") and part != ".github" for part in inside.parts)
        skipped = SKIPPED.intersection(inside.parts) or hidden or ".egg-info" in str(inside)
        known = path.suffix in SUFFIXES or path.name in {"Makefile", "Dockerfile", "postBuild"}
        if known and not skipped and path.is_file():
            yield path


def mentions(text: str) -> Iterator[re.Match[str]]:
    for pattern in PATTERNS:
        for found in pattern.finditer(text):
            if f"{found[1]}/{found[2]}" not in FOREIGN:
                yield found


def differing() -> list[str]:
    """`file: owner/name` of every mention that is not this repository."""
    ours = repository()
    return [
        f"{path.relative_to(ROOT)}: {found[1]}/{found[2]}"
        for path in files()
        for found in mentions(path.read_text(encoding="utf-8"))
        if (found[1], found[2]) != ours
    ]


def rewrite(path: Path) -> bool:
    """Put this repository's address into one file; True if that changed it."""
    owner, name = repository()
    before = path.read_text(encoding="utf-8")
    after = before
    for found in sorted(mentions(before), key=lambda m: m.start(), reverse=True):
        after = after[: found.start(2)] + name + after[found.end(2) :]
        after = after[: found.start(1)] + owner + after[found.end(1) :]
    if after == before:
        return False
    path.write_text(after, encoding="utf-8")
    if path.suffix == ".ipynb":
        _refresh(path, before)
    return True


def _refresh(path: Path, before: str) -> None:
    """An address changes no output: outputs that were fresh stay so."""
    old = nbformat.reads(before, as_version=4)
    if old.metadata.get("vae_tutorial", {}).get("source") == fingerprint(old):
        text = path.read_text(encoding="utf-8")
        new = fingerprint(nbformat.reads(text, as_version=4))
        path.write_text(text.replace(fingerprint(old), new), encoding="utf-8")


def main() -> None:
    changed = [str(path.relative_to(ROOT)) for path in files() if rewrite(path)]
    print(json.dumps({"repository": "/".join(repository()), "changed": changed}, indent=1))


if __name__ == "__main__":
    main()
