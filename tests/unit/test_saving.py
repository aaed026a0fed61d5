"""A saved model comes back by one call; anything else is refused."""

import pickle

import pytest
import torch
from disks import run_on_a_small_disk
from safetensors.torch import save_file

from vae_tutorial.model import VAE
from vae_tutorial.training.saving import load_model, save_model


@pytest.fixture
def saved(tmp_path):
    model = VAE.mlp(6, 3, hidden=(5, 4), likelihood="gaussian_fixed", variance=0.3, device="cpu")
    save_model(model, tmp_path / "model.safetensors")
    return model, tmp_path / "model.safetensors"


def test_outputs_are_identical_after_loading(saved):
    model, path = saved
    back = load_model(path, device="cpu")
    x = torch.rand(4, 6, generator=torch.Generator().manual_seed(0))
    assert torch.equal(back.encode(x).mu, model.encode(x).mu)
    assert torch.equal(back.encode(x).log_var, model.encode(x).log_var)
    z = back.encode(x).mu
    assert torch.equal(back.decode(z).log_prob(x), model.decode(z).log_prob(x))
    assert back.settings == model.settings


def test_saving_replaces_whole_files_and_leaves_no_other(saved):
    model, path = saved
    save_model(model, path)
    assert [p.name for p in path.parent.iterdir()] == ["model.safetensors"]


@pytest.mark.slow
def test_a_save_on_a_full_disk_keeps_the_old_file(tmp_path):
    code = f"""
from pathlib import Path
from vae_tutorial import model
from vae_tutorial.training import saving
path = Path("{tmp_path}") / "model.safetensors"
small, large = model.VAE.mlp(4, hidden=3), model.VAE.mlp(784, hidden=400)
saving.save_model(small, path)
try:
    saving.save_model(large, path)
except OSError as error:
    print(error)
print(saving.load_model(path).settings == small.settings, len(list(path.parent.iterdir())))
"""
    message, state = run_on_a_small_disk(code, tmp_path).stdout.splitlines()
    assert "free some space" in message and state == "True 1"


def test_truncated_foreign_and_tampered_files_are_refused(saved, tmp_path):
    model, path = saved
    whole = path.read_bytes()
    for number in (0, 10, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:number])
        with pytest.raises(ValueError, match="not a whole model file"):
            load_model(path)
    path.write_bytes(pickle.dumps(model.state_dict()))
    with pytest.raises(ValueError, match="not a whole model file"):
        load_model(path)
    save_file({"w": torch.zeros(2)}, path)
    with pytest.raises(ValueError, match="format is None"):
        load_model(path)
    path.write_bytes(whole.replace(b'\\"latent_dim\\": 3', b'\\"latent_dim\\": 2'))
    with pytest.raises(ValueError, match="size mismatch"):
        load_model(path)
    path.unlink()
    with pytest.raises(FileNotFoundError, match="no model file"):
        load_model(path)


def test_a_model_of_ones_own_modules_is_not_saved_silently_wrong(tmp_path):
    model = VAE.mlp(6, 2)
    own = VAE(model.encoder, model.decoder, 2)
    with pytest.raises(ValueError, match="this model was not built by VAE.mlp"):
        save_model(own, tmp_path / "x")


def test_a_model_that_was_edited_after_it_was_built_is_not_saved_with_a_wrong_recipe(tmp_path):
    """Its tensors have the names and shapes of the recipe; its layers do not."""
    model = VAE.mlp(6, 2, hidden=(4, 4))
    model.encoder[1] = torch.nn.ReLU()
    with pytest.raises(ValueError, match="is no longer as it was built by VAE.mlp"):
        save_model(model, tmp_path / "x")
    assert not (tmp_path / "x").exists()
