"""Refresh web/static/vendor: the scripts that the site serves, unmodified, from npm.

    make vendor        (needs npm)

Each package is fetched at its pinned version with `npm pack`; the files named below are copied
byte for byte, licence included, and CHECKSUMS.json records npm's integrity string of the
package and the sha256 of every file. tests/test_vendor.py compares the folder with it.
"""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

VENDOR = Path(__file__).resolve().parents[1] / "web" / "static" / "vendor"
CHECKSUMS = VENDOR / "CHECKSUMS.json"


@dataclass(frozen=True)
class Package:
    """One npm package: `keep` names files or folders (with a slash) below `root`."""

    name: str
    version: str
    folder: str
    keep: tuple[str, ...]
    root: str = ""


def latin_and_greek(name: str, *styles: str) -> list[str]:
    """The variable-weight files of a font for the two scripts that the book uses."""
    return [
        f"files/{name}-{script}-wght-{s}.woff2" for script in ("latin", "greek") for s in styles
    ]


# the TeX extensions that MathJax's autoloader may ask for
AUTOLOADED = [
    "action",
    "amscd",
    "bbox",
    "boldsymbol",
    "braket",
    "bussproofs",
    "cancel",
    "centernot",
    "color",
    "colorv2",
    "enclose",
    "extpfeil",
    "gensymb",
    "html",
    "mhchem",
    "textcomp",
    "unicode",
    "upgreek",
    "verb",
]

PACKAGES = (
    Package(
        "mathjax",
        "3.2.2",
        "mathjax",
        (
            "LICENSE",
            "es5/tex-chtml.js",
            "es5/output/chtml/fonts/woff-v2/",
            *(f"es5/input/tex/extensions/{name}.js" for name in AUTOLOADED),
        ),
        root="es5/",
    ),
    Package(
        "reveal.js",
        "5.2.1",
        "reveal",
        ("LICENSE", "dist/reveal.js", "dist/reveal.css", "plugin/notes/notes.js"),
        root="dist/",
    ),
    *(
        Package(
            f"@fontsource-variable/{name}", version, f"fonts/{name}", ("LICENSE", *files), "files/"
        )
        for name, version, files in (
            ("source-sans-3", "5.3.0", latin_and_greek("source-sans-3", "normal", "italic")),
            ("source-serif-4", "5.3.1", latin_and_greek("source-serif-4", "normal")),
            ("jetbrains-mono", "5.3.0", latin_and_greek("jetbrains-mono", "normal")),
        )
    ),
)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def vendored_files() -> dict[str, str]:
    """The sha256 of every vendored file, by its path below web/static/vendor."""
    files = sorted(p for p in VENDOR.rglob("*") if p.is_file() and p != CHECKSUMS)
    return {p.relative_to(VENDOR).as_posix(): sha256(p) for p in files}


def fetch(package: Package, scratch: Path) -> str:
    """Copy one package's files into place; return npm's integrity string, verified."""
    command = ["npm", "pack", "--silent", "--json", f"{package.name}@{package.version}"]
    done = subprocess.run(command, cwd=scratch, check=True, capture_output=True, text=True)
    reply = json.loads(done.stdout)
    entry = reply[0] if isinstance(reply, list) else next(iter(reply.values()))
    tarball = scratch / entry["filename"]
    digest = base64.b64encode(hashlib.sha512(tarball.read_bytes()).digest()).decode()
    if entry["integrity"] != f"sha512-{digest}":
        raise SystemExit(f"{package.name}: the tarball is not the one that npm announces")
    target = VENDOR / package.folder
    shutil.rmtree(target, ignore_errors=True)
    with tarfile.open(tarball) as tar:
        for member in tar.getmembers():
            path = member.name.partition("/")[2]
            wanted = any(
                path == k or (k.endswith("/") and path.startswith(k)) for k in package.keep
            )
            stream = tar.extractfile(member) if wanted and member.isfile() else None
            if stream is not None:
                out = target / path.removeprefix(package.root)
                out.parent.mkdir(parents=True, exist_ok=True)
                out.write_bytes(stream.read())
    return str(entry["integrity"])


def main() -> None:
    record: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for package in PACKAGES:
            integrity = fetch(package, Path(scratch))
            record[f"{package.name}@{package.version}"] = {
                "folder": package.folder,
                "integrity": integrity,
            }
            print(f"{package.name}@{package.version} -> vendor/{package.folder}")
    checksums = {"packages": record, "sha256": vendored_files()}
    CHECKSUMS.write_text(json.dumps(checksums, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
