"""Outputs are stale when something that they depend on changes, and only then."""

import nbformat
import pytest

from tools.fingerprint import files, fingerprint

CODE = "%pip install x\nfrom pkg_free import y\nfrom vae_tutorial import VAE, book\n"
TREE = {
    "__init__.py": "from typing import TYPE_CHECKING\n"
    "if TYPE_CHECKING:\n"
    "    from vae_tutorial.model import VAE\n"
    "    from vae_tutorial.kl import kl\n"
    "def __getattr__(name):\n    ...\n",
    "model.py": "from vae_tutorial import networks\nfrom vae_tutorial.support import inputs\n",
    "networks.py": "def late():\n    from vae_tutorial.slow import thing\n",
    "slow.py": "thing = 1\n",
    "kl.py": "kl = 1\n",
    "support/__init__.py": "",
    "support/inputs.py": "import torch\n",
    "support/unused.py": "x = 1\n",
    "book/__init__.py": "from . import widgets\nfrom .seeds import seed\n",
    "book/seeds.py": "seed = 1\n",
    "book/widgets/__init__.py": "",
    "book/widgets/plane.js": "draw()",
    "book/weights/__init__.py": "",
    "book/weights/mnist.safetensors": "numbers",
    "cli/__init__.py": "",
    "cli/main.py": "from vae_tutorial.model import VAE\n",
    "cli/table.json": "{}",
    "py.typed": "",
}
USED = {
    "__init__.py",
    "model.py",
    "networks.py",
    "slow.py",
    "support/__init__.py",
    "support/inputs.py",
    "book/__init__.py",
    "book/seeds.py",
    "book/widgets/__init__.py",
    "book/widgets/plane.js",
}


@pytest.fixture
def package(tmp_path):
    for name, text in TREE.items():
        path = tmp_path / "vae_tutorial" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def notebook(code=CODE):
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])


def test_files_are_found_through_packages_functions_and_lazy_names(package):
    found = {p.relative_to(package / "vae_tutorial").as_posix() for p in files([CODE], package)}
    assert found == USED


@pytest.mark.parametrize("name", sorted(TREE))
def test_a_changed_file_makes_outputs_stale_if_and_only_if_it_is_used(package, name):
    before = fingerprint(notebook(), package)
    path = package / "vae_tutorial" / name
    path.write_text(path.read_text() + "\n# changed\n")
    assert (fingerprint(notebook(), package) != before) == (name in USED)


def test_a_new_import_counts_at_once(package):
    before = fingerprint(notebook(), package)
    (package / "vae_tutorial/support/inputs.py").write_text("from vae_tutorial.cli import main\n")
    after = fingerprint(notebook(), package)
    assert after != before
    (package / "vae_tutorial/cli/main.py").write_text("x = 2\n")
    assert fingerprint(notebook(), package) != after


def test_code_counts_and_text_does_not(package):
    before = fingerprint(notebook(), package)
    assert fingerprint(notebook(CODE + "1"), package) != before
    told = notebook()
    told.cells.append(nbformat.v4.new_markdown_cell("words"))
    assert fingerprint(told, package) == before


def test_the_books_chapters_depend_on_the_model_and_not_on_the_command_line():
    import chapters

    for path in chapters.CHAPTERS:
        code = [cell.source for cell in chapters.code_cells(path)]
        used = {p.relative_to(chapters.ROOT).as_posix() for p in files(code)}
        assert "vae_tutorial/book/checks.py" in used and "vae_tutorial/book/seeds.py" in used
        assert not [name for name in used if name.startswith("vae_tutorial/cli/")]
    assert "vae_tutorial/book/widgets/latent_explorer.js" in used
    assert "vae_tutorial/book/pretrained/mnist_2d.safetensors" in used
    assert "vae_tutorial/training/loop.py" in used and "vae_tutorial/model.py" in used
