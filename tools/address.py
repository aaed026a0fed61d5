"""Keep every mention of the repository's address equal to the one in pyproject.toml.

    make address        after a change of `Repository` in pyproject.toml

What is rewritten is the address that the project had before, which CITATION.cff still names; it is
rewritten last. Links to other repositories are left alone. `due()` names the files that the
command would rewrite; a test wants none.
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
LAST = "CITATION.cff"
ADDRESS = re.compile(r'^repository-code: "?https://github\.com/([^/\s"]+)/([^/\s"]+)', re.M)


def repository() -> tuple[str, str]:
    """Owner and name, from the one source."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    owner, name = settings["project"]["urls"]["Repository"].rstrip("/").split("/")[-2:]
    return owner, name


def written() -> tuple[str, str]:
    """Owner and name that the project's files have now."""
    found = ADDRESS.search((ROOT / LAST).read_text(encoding="utf-8"))
    if found is None:
        raise ValueError(f"{LAST} names no repository-code on GitHub; enter the one in README.md")
    return found[1], found[2]


def files() -> Iterator[Path]:
    for path in sorted(ROOT.rglob("*")):
        inside = path.relative_to(ROOT)
        hidden = any(part.startswith(".") and part != ".github" for part in inside.parts)
        skipped = SKIPPED.intersection(inside.parts) or hidden or ".egg-info" in str(inside)
        known = path.suffix in SUFFIXES or path.name in {"Makefile", "Dockerfile", "postBuild"}
        if known and not skipped and path.is_file():
            yield path


def renamed(text: str) -> tuple[str, int]:
    """The text with this repository's address in place of the one before; how often it stood."""
    (old_owner, old_name), (owner, name) = written(), repository()
    before, after = re.escape(f"{old_owner}/{old_name}"), f"{owner}/{name}"
    pages = rf"{re.escape(old_owner)}\.github\.io/{re.escape(old_name)}"
    end = r"(?![\w-]|\.(?!git\b)[\w-])"  # else it is a longer name
    text, here = re.subn(
        rf"(?<![\w-])(github\.com[/:]|mybinder\.org/v2/gh/|colab\.research\.google\.com/github/)"
        rf"{before}{end}",
        rf"\g<1>{after}",
        text,
    )
    text, there = re.subn(rf"(?<=//){pages}{end}", f"{owner}.github.io/{name}", text)
    return text, here + there


def due() -> list[str]:
    """The files that still have an address of before."""
    if written() == repository():
        return []
    return [str(p.relative_to(ROOT)) for p in files() if renamed(p.read_text("utf-8"))[1]]


def rewrite(path: Path) -> bool:
    """Put this repository's address into one file; True if that changed it."""
    before = path.read_text(encoding="utf-8")
    after, _ = renamed(before)
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
    in_turn = sorted(files(), key=lambda path: path == ROOT / LAST)
    changed = [str(path.relative_to(ROOT)) for path in in_turn if rewrite(path)]
    print(json.dumps({"repository": "/".join(repository()), "changed": changed}, indent=1))


if __name__ == "__main__":
    main()
