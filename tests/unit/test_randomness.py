"""Device and randomness."""

import subprocess
import sys

import pytest
import torch

from vae_tutorial.book.seeds import chapter_seed
from vae_tutorial.randomness import as_generator, forked_seed, standard_normal
from vae_tutorial.support.devices import default_device


def test_device_follows_the_environment(monkeypatch):
    monkeypatch.delenv("VAE_TUTORIAL_DEVICE", raising=False)
    expected = "cuda" if torch.cuda.is_available() else "cpu"
    assert default_device().type == expected
    monkeypatch.setenv("VAE_TUTORIAL_DEVICE", "cpu")
    assert default_device() == torch.device("cpu")


@pytest.mark.parametrize("name", ["gpu9", "cuda:99"])
def test_an_unusable_device_is_refused(monkeypatch, name):
    monkeypatch.setenv("VAE_TUTORIAL_DEVICE", name)
    with pytest.raises(ValueError, match=f"VAE_TUTORIAL_DEVICE='{name}' cannot be used"):
        default_device()


def test_chapter_seed_adds_the_offset(monkeypatch):
    monkeypatch.delenv("VAE_TUTORIAL_SEED_OFFSET", raising=False)
    assert chapter_seed(7) == 7
    monkeypatch.setenv("VAE_TUTORIAL_SEED_OFFSET", "3")
    assert chapter_seed(7) == 3007
    monkeypatch.setenv("VAE_TUTORIAL_SEED_OFFSET", "three")
    with pytest.raises(ValueError, match="'three' is not a whole number"):
        chapter_seed(7)


def test_as_generator():
    generator = torch.Generator()
    assert as_generator(generator) is generator
    assert as_generator(5).initial_seed() == 5
    assert as_generator(None).initial_seed() != as_generator(None).initial_seed()
    for bad in (-1, True, "0", 2**63):
        with pytest.raises(ValueError, match="random source"):
            as_generator(bad)


def test_standard_normal_has_the_shape_and_dtype_and_moments():
    like = torch.zeros(1, dtype=torch.double)
    eps = standard_normal((50_000, 2), 0, like)
    assert eps.shape == (50_000, 2) and eps.dtype == torch.double
    assert (eps.mean(0).abs() < 5 / 50_000**0.5).all()
    assert ((eps.var(0) - 1).abs() < 5 * (2 / 50_000) ** 0.5).all()


def test_forked_seed_restores_the_global_generator():
    state = torch.random.get_rng_state()
    with pytest.raises(RuntimeError), forked_seed(3):
        first = torch.rand(2)
        raise RuntimeError
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(first, torch.rand(2, generator=torch.Generator().manual_seed(3)))


def test_import_loads_nothing_heavy():
    code = (
        "import sys, vae_tutorial; print([m for m in sys.modules if m in "
        "('torch', 'sklearn', 'matplotlib', 'sympy', 'anywidget', 'IPython')])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_modules_load_when_used_and_unknown_names_are_refused():
    import vae_tutorial

    assert vae_tutorial.objectives.gaussian_kl
    assert "training" in dir(vae_tutorial)
    with pytest.raises(AttributeError, match="no attribute 'modle'"):
        vae_tutorial.modle  # noqa: B018
