"""What a user installs: the wheel in an empty environment, and the setup cell on Colab."""

import json
import os
import re
import subprocess
import sys
import threading
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.slow
REQUIREMENTS = ROOT / "requirements.txt"


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


def run(*command, **options):
    done = subprocess.run(
        [str(c) for c in command], capture_output=True, text=True, timeout=900, **options
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """The files that git tracks, as they are now, committed to a git repository of their own."""
    copy = tmp_path_factory.mktemp("checkout") / "book"
    names = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=ROOT)
    for name in filter(None, names.split("\0")):
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            (copy / name).write_bytes((ROOT / name).read_bytes())
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
    run("git", "init", "-q", cwd=copy)
    run("git", "add", "-A", cwd=copy)
    run("git", *identity, "commit", "-qm", "as it is", cwd=copy)
    return copy


@pytest.fixture(scope="module")
def address(checkout, tmp_path_factory):
    """The checkout served as a git repository over HTTP on this machine alone."""
    served = tmp_path_factory.mktemp("served")
    run("git", "clone", "--quiet", "--bare", checkout, served / "book.git")
    run("git", "update-server-info", cwd=served / "book.git")
    handler = partial(QuietHandler, directory=str(served))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"git+http://127.0.0.1:{server.server_port}/book.git"
        server.shutdown()


@pytest.fixture(scope="module")
def wheel(checkout, tmp_path_factory):
    out = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "build", "--wheel", "--outdir", out, checkout)
    (path,) = out.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    """An empty virtual environment's Python."""
    folder = tmp_path_factory.mktemp("empty") / "venv"
    run(sys.executable, "-m", "venv", folder)
    return folder / ("Scripts" if os.name == "nt" else "bin") / "python"


@pytest.fixture(scope="module")
def installed(empty, wheel):
    """The wheel and its run-time dependencies, with the pinned torch and nothing else."""
    run(
        empty, "-m", "pip", "install", "--quiet", "--constraint", REQUIREMENTS, f"{wheel}[book]"
    )  # fmt: skip
    return empty


def test_the_wheel_holds_the_package_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    folders = {name.split("/")[0] for name in names}
    assert folders == {"vae_tutorial"} | {f for f in folders if f.endswith(".dist-info")}
    for needed in (
        "vae_tutorial/py.typed",
        "vae_tutorial/book/widgets/latent_explorer.js",
        "vae_tutorial/book/pretrained/mnist_2d.safetensors",
        "vae_tutorial/book/pretrained/mnist_2d.json",
    ):
        assert needed in names
    assert wheel.stat().st_size < 2_000_000
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_the_installed_package_works_outside_the_checkout(installed, tmp_path):
    code = """
import json, vae_tutorial
from vae_tutorial import data, model, objectives, training
from vae_tutorial.book import pretrained, widgets
vae = pretrained.load("mnist_2d", device="cpu")
explorer = widgets.LatentExplorer(vae)
digits = data.load("digits", device="cpu")
history = training.fit(model.VAE.mlp(64, device="cpu"), digits, epochs=1, progress=False)
print(json.dumps({
    "file": vae_tutorial.__file__, "version": vae_tutorial.__version__,
    "score": pretrained.provenance("mnist_2d")["score"]["nats_per_image"],
    "script": len(str(explorer._esm)), "elbo": history.valid_elbo[0],
}))
"""
    said = json.loads(run(installed, "-c", code, cwd=tmp_path))
    assert "site-packages" in said["file"] and not said["file"].startswith(str(ROOT))
    assert re.search(
        rf'^version = "{said["version"]}"$', (ROOT / "pyproject.toml").read_text(), re.M
    )
    assert said["script"] > 1000 and said["score"] < 0 and said["elbo"] < 0


def test_the_console_script_trains_scores_and_samples(installed, tmp_path):
    script = installed.with_name("vae-tutorial")
    version = re.search(r'^version = "(.*)"$', (ROOT / "pyproject.toml").read_text(), re.M)[1]
    assert run(script, "--version", cwd=tmp_path) == f"vae-tutorial {version}\n"
    settings = ["--hidden", "10", "--steps", "5", "--device", "cpu", "--out", "run"]
    assert "everything is in run" in run(script, "train", *settings, cwd=tmp_path)
    few = ["--num-samples", "5", "--limit", "2", "--device", "cpu"]
    assert "log p(x)" in run(script, "evaluate", "run", *few, cwd=tmp_path)
    assert run(script, "sample", "run", cwd=tmp_path) == "64 samples are in samples.png\n"
    assert run(installed, "-m", "vae_tutorial", "--help", cwd=tmp_path).startswith("usage:")
    refused = subprocess.run([script, "train", *settings], cwd=tmp_path, capture_output=True)
    assert refused.returncode == 2 and b"Traceback" not in refused.stderr
    assert {p.name for p in (tmp_path / "run").iterdir()} >= {"results.json", "evaluation.json"}


def test_the_package_alone_needs_no_matplotlib(empty, wheel, tmp_path):
    metadata = zipfile.ZipFile(wheel)
    (name,) = [n for n in metadata.namelist() if n.endswith("METADATA")]
    lines = metadata.read(name).decode().splitlines()
    always = [
        x.split(":")[1].strip()
        for x in lines
        if x.startswith("Requires-Dist") and "extra" not in x
    ]
    assert not [x for x in always if "==" in x], always
    names = {re.split(r"[<>=!~ ;]", x)[0] for x in always}
    needed = {"torch", "numpy", "pooch", "safetensors", "scikit-learn", "scipy", "tqdm", "tyro"}
    assert names == needed


def test_the_setup_cell_on_colab_installs_the_package_and_leaves_torch_alone(
    installed, address, tmp_path
):
    """An environment like Colab's: torch is there, the package is not."""
    run(installed, "-m", "pip", "uninstall", "--quiet", "--yes", "vae_tutorial")
    run(installed, "-m", "pip", "install", "--quiet", "--constraint", REQUIREMENTS, "ipython")
    chapter = sorted((ROOT / "chapters").glob("*.ipynb"))[0]
    cell = next(c for c in nbformat.read(chapter, 4).cells if c.cell_type == "code")
    source, count = re.subn(r"git\+https://[^\"]+", address, cell.source)
    assert count == 1
    torch_version = "import importlib.metadata as m; print(m.version('torch'))"
    before = run(installed, "-c", torch_version)
    script = tmp_path / "setup.ipy"

    script.write_text(source)
    elsewhere = subprocess.run(
        [str(installed), "-m", "IPython", script], capture_output=True, text=True, cwd=tmp_path
    )
    assert "No module named 'vae_tutorial'" in elsewhere.stdout + elsewhere.stderr

    (tmp_path / "google").mkdir()
    (tmp_path / "google" / "colab.py").write_text("")
    script.write_text(
        "import google.colab\n"
        + source
        + "\nimport vae_tutorial\nprint('ready', vae_tutorial.__file__)"
    )
    said = run(
        installed, "-m", "IPython", script, cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path), "MPLBACKEND": "agg"},
    )  # fmt: skip
    assert re.search(r"ready .*site-packages", said), said
    assert run(installed, "-c", torch_version) == before
