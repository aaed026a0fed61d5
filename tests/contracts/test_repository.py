"""The repository: one address, one version, honest pins, short modules, a README that works.

That imports run one way is a contract of import-linter, in pyproject.toml; `make lint` checks it.
"""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
TEXT = {".py", ".md", ".toml", ".yml", ".yaml", ".cfg", ".cff", ".txt", ".ipynb", ".js", ".css",
        ".html", ".j2", ".json", ".bib", ".svg", ""}  # fmt: skip


def tracked() -> list[Path]:
    names = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    return [ROOT / n for n in names.split("\0") if n and (ROOT / n).is_file()]


def own_text() -> dict[str, str]:
    return {
        str(p.relative_to(ROOT)): p.read_text()
        for p in tracked()
        if p.suffix in TEXT and "vendor" not in p.parts
    }


def test_the_repositorys_address_has_one_source():
    address = PROJECT["urls"]["Repository"]
    name = address.rsplit("/", 1)[1]
    owner = address.removesuffix(f"/{name}").rsplit("/", 1)[1]
    mentions = {
        (path, found)
        for path, text in own_text().items()
        for found in re.findall(rf"github\.com/([\w.-]+/{re.escape(name)})\b", text)
    }
    assert {found for _, found in mentions} == {f"{owner}/{name}"}, mentions
    places = {path for path, _ in mentions}
    assert {"_config.yml", "README.md", "CITATION.cff"} <= places
    assert {str(p.relative_to(ROOT)) for p in (ROOT / "chapters").glob("*.ipynb")} <= places


def test_the_version_is_the_same_everywhere():
    version = PROJECT["version"]
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text()
    assert re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.M)[1] == version


def test_the_pins_cover_the_package_and_name_no_build_of_one_machine():
    text = (ROOT / "requirements.txt").read_text()
    assert text.startswith("#") and "make requirements" in text.split("\n\n")[0]
    pins = dict(re.findall(r"^([\w.-]+)==(\S+)$", text, re.M))
    names = {name.lower().replace("_", "-") for name in pins}
    extras = PROJECT["optional-dependencies"].values()
    for wanted in [*PROJECT["dependencies"], *(d for extra in extras for d in extra)]:
        name = re.match(r"[\w.-]+", wanted)[0].lower().replace("_", "-")
        assert name in names, wanted
    assert pins["torch"] == "2.13.0"
    assert not [n for n in pins if n.startswith(("nvidia", "cuda", "triton"))]
    assert "+" not in "".join(pins.values())


def test_nothing_names_a_machine_or_a_package_index():
    """Binder's environment is the one place that may name an index."""
    hosts = r"pypi\.o" r"rg|pythonho" r"sted|registry\.npm" r"js|deb\.debian|download\.pytor" r"ch"
    bad = re.compile(rf"{hosts}|(?<![\w.])/(?:home|root|Users)/\w")
    found = {
        f"{path}: {m[0]}"
        for path, text in own_text().items()
        if not path.startswith(("binder/", "tests/contracts/"))
        for m in bad.finditer(text)
    }
    assert not found


def test_every_module_is_short():
    lines = {
        str(path.relative_to(ROOT)): len(path.read_text().splitlines())
        for path in (ROOT / "vae_tutorial").rglob("*.py")
    }
    assert {path: number for path, number in lines.items() if number > 280} == {}


@pytest.mark.slow
def test_the_readmes_code_runs_and_learns():
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    said = [
        subprocess.run([sys.executable, "-c", b], capture_output=True, text=True, check=True)
        for b in blocks
    ]
    numbers = [[float(n) for n in re.findall(r"-?\d+\.\d", s.stdout)] for s in said]
    (value, kl), (first, last), (found, best) = numbers
    assert -22.5 < value < -18 and 1.5 < kl < 6  # independent pixels reach -24.5
    assert first < -35 and -20 < last < 0  # one's own tensor and convolutional pair
    assert abs(found - best) < 0.05  # a flow reaches the exact maximum likelihood


def test_links_in_the_root_documents_resolve():
    for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md"):
        for target in re.findall(r"\]\((?!https?://|#)([^)]+)\)", (ROOT / name).read_text()):
            assert (ROOT / target).exists(), f"{name}: {target}"


def test_the_commands_that_the_documents_name_exist():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M))
    for name in ("README.md", "CONTRIBUTING.md"):
        named = set(re.findall(r"\bmake ([a-z]+)\b", (ROOT / name).read_text()))
        assert named - {"up"} <= targets, named - targets
    assert "exec make test" in (ROOT / ".ci/run").read_text() or re.search(
        r"^make test$", (ROOT / ".ci/run").read_text(), re.M
    )
