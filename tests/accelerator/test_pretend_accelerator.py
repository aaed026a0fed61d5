"""The double catches what it is there for, and lets pass what a GPU lets pass."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
HERE = Path(__file__).resolve().parent
START = (
    "import torch, pretend_accelerator; x = torch.ones(3, 2).to('pretend'); c = torch.ones(3, 2)\n"
)


def run(code, **environment):
    """One process for each, since the device stays in the process that registers it."""
    return subprocess.run(
        [sys.executable, "-c", START + code],
        env={"PYTHONPATH": f"{HERE}:{HERE.parents[1]}", "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
    )


REFUSED = """
class Own(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.W = torch.nn.Parameter(torch.ones(2, 2))
own = Own().to("pretend")
i = torch.tensor([0])
for name, mistake in {
    "a sum": lambda: x + c,
    "a sum, the other way round": lambda: c + x,
    "a sum in place": lambda: x.add_(c),
    "a matrix product": lambda: c @ own.W,
    "a layer left behind": lambda: torch.nn.Linear(2, 2)(x),
    "data left behind": lambda: torch.nn.Linear(2, 2).to("pretend")(c),
    "parts": lambda: torch.cat([x, c]),
    "a choice": lambda: torch.where(c > 0, x, x),
    "one number in a row of one": lambda: x * torch.ones(1),
    "a CPU tensor at the device's indices": lambda: c[i.to("pretend")],
    "rows by a CPU index": lambda: torch.index_select(x, 0, i),
    "CPU values written into the device's": lambda: x.index_put_((i,), c[:1]),
    "noise added before it is moved": lambda: torch.exp(x) * torch.randn(3, 2),
    "a density": lambda: torch.distributions.Normal(x, 1.0).log_prob(c),
    "a loss": lambda: torch.nn.functional.binary_cross_entropy_with_logits(x, c),
}.items():
    try:
        mistake()
    except RuntimeError as error:
        text = str(error)
        assert "same device" in text or "on cpu" in text, (name, text)
    else:
        raise SystemExit(f"{name} passed")
"""


def test_a_cpu_tensor_that_meets_one_of_the_device_is_an_error():
    result = run(REFUSED)
    assert result.returncode == 0, result.stdout + result.stderr


def test_numpy_and_matplotlib_do_not_read_the_device():
    result = run("""
import numpy as np
import matplotlib; matplotlib.use("agg")
import matplotlib.pyplot as plt
for read in (x.numpy, lambda: np.asarray(x), lambda: plt.plot(x)):
    try:
        read()
    except TypeError as error:
        assert "Use Tensor.cpu()" in str(error)
    else:
        raise SystemExit("a tensor was read where it is not")
""")
    assert result.returncode == 0, result.stdout + result.stderr


def test_what_a_gpu_allows_passes():
    result = run("""
assert (x * torch.tensor(2.0) + 1 - 3.0).tolist() == [[0.0, 0.0]] * 3
assert x[torch.tensor([0, 2])].shape == (2, 2) and x[c > 0].shape == (6,)
x[torch.tensor([0])] = 5.0
assert x.cpu().sum() == 14 and x.sum().item() == 14 and f"{x.sum():.1f}" == "14.0"
c.copy_(x)
assert c.sum() == 14 and (x % 2).to("cpu").sum() == 6
moved = torch.nn.Linear(2, 2).to("pretend")
assert isinstance(moved.weight, torch.nn.Parameter) and moved.weight.is_leaf
moved(x).sum().backward()
assert moved.weight.grad.device == x.device
assert type(x.cpu()) is torch.Tensor and type(moved.to("cpu").bias) is torch.nn.Parameter
""")
    assert result.returncode == 0, result.stdout + result.stderr


def test_views_share_their_numbers_as_on_any_device():
    result = run("""
x[0].mul_(3); x.T[1, 2] = 7.0; x.reshape(-1)[1] = 9.0; x.view(6)[3:4].zero_()
assert x.tolist() == [[3.0, 9.0], [1.0, 0.0], [1.0, 7.0]]
y = x.detach().clone(); y.unsqueeze_(0).squeeze_(0).zero_()
assert x.sum() == 21 and y.sum() == 0 and y.shape == (3, 2)
""")
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("device", ["pretend", "pretend:0"])
def test_the_package_makes_everything_on_it_when_it_is_the_default(device):
    result = run(
        """
from vae_tutorial import VAE, load
from vae_tutorial.support.devices import default_device
assert default_device().type == "pretend"
assert VAE.mlp(4, 2).device.type == load("digits").train.x.device.type == "pretend"
""",
        VAE_TUTORIAL_DEVICE=device,
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_without_it_the_device_is_refused_in_one_sentence():
    code = "from vae_tutorial.support.devices import default_device; default_device()"
    result = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(HERE.parents[1]), "VAE_TUTORIAL_DEVICE": "pretend"},
        capture_output=True,
        text=True,
    )
    assert "ValueError: VAE_TUTORIAL_DEVICE='pretend' cannot be used" in result.stderr
