"""A notebook on a device that is not the CPU: one in every test run, all by make accelerator."""

import nbformat
import pytest
from nbclient.exceptions import CellExecutionError

from tools import accelerator

pytestmark = pytest.mark.slow
CHAPTER = "chapters/07_mlp_vae.ipynb"  # loads data, makes, trains and scores a model


def test_a_chapter_runs_on_the_device(root):
    assert accelerator.run(root / CHAPTER) > 100_000


@pytest.fixture
def notebook(tmp_path):
    def write(*cells):
        path = tmp_path / "a.ipynb"
        nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
        nbformat.write(nb, path)
        return path

    return write


LOAD = "import torch\nfrom vae_tutorial import VAE, load\nx = load('digits').test.x[:3]"


def test_a_notebook_that_mixes_devices_is_told(notebook, capsys):
    path = notebook(LOAD, "x + torch.zeros(3, 64)")
    with pytest.raises(CellExecutionError, match="on the same device"):
        accelerator.run(path)
    assert accelerator.main([str(path)]) == 1
    assert "a cell failed" in capsys.readouterr().err


def test_a_notebook_that_does_not_is_run(notebook, capsys):
    path = notebook(LOAD, "VAE.mlp(64).encode(x).mean.detach().cpu().numpy()")
    assert accelerator.main([str(path)]) == 0
    assert "operations on the device" in capsys.readouterr().out
