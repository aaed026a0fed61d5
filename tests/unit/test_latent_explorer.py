"""LatentExplorer in Python: the layers it reads, what it refuses, its picture and its text."""

import base64

import numpy as np
import pytest
import torch
from torch import nn

from vae_tutorial.book.widgets import LatentExplorer, _layers, _still
from vae_tutorial.model import VAE


def small(**settings) -> VAE:
    return VAE.mlp(12, latent_dim=2, hidden=(5,), seed=0, device="cpu", **settings)


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian", "gaussian_fixed"])
@pytest.mark.parametrize("hidden", [(5,), (7, 4)])
def test_the_layers_compute_what_the_decoder_computes(likelihood, hidden):
    model = VAE.mlp(12, latent_dim=2, hidden=hidden, likelihood=likelihood, device="cpu")
    z = torch.randn(20, 2, generator=torch.Generator().manual_seed(0))
    ours = _layers.forward(_layers.decoder_layers(model), z.numpy())
    np.testing.assert_allclose(ours, model.decode(z).mean.detach().numpy(), atol=1e-6)


@pytest.mark.parametrize("activation", [nn.ReLU(), nn.Softplus(), nn.Identity()])
def test_other_activations_are_read(activation):
    model = small()
    model.decoder[1] = activation
    z = torch.randn(5, 2, generator=torch.Generator().manual_seed(0))
    ours = _layers.forward(_layers.decoder_layers(model), z.numpy())
    np.testing.assert_allclose(ours, model.decode(z).mean.detach().numpy(), atol=1e-6)


def test_the_state_holds_the_weights_as_float16():
    widget = LatentExplorer(small(), image_shape=(3, 4))
    count = sum(k["inputs"] * k["outputs"] + k["outputs"] for k in widget.layers)
    assert len(widget.weights) == 2 * count
    assert widget.layers[-1] == {"inputs": 5, "outputs": 12, "activation": "sigmoid"}


def test_the_picture_is_a_png_of_stable_bytes_and_the_text_has_no_address():
    points, labels = torch.zeros(3, 2), torch.tensor([0, 1, 1])
    widget = LatentExplorer(small(), points, labels, image_shape=(3, 4))
    data, _ = widget._repr_mimebundle_()
    png = base64.b64decode(data["image/png"])
    assert png.startswith(b"\x89PNG") and png == widget.still()
    assert data["text/plain"] == repr(widget) == "LatentExplorer(3 points, 3 x 4 image)"


def test_a_plane_without_points_shows_a_map_of_what_is_decoded_there():
    """A tile shows the image of its center, and the map gives way to points."""
    at = _still.tile_centers(4.5)
    assert at.shape == (81, 2) and at[0].tolist() == [-4, 4] and at[-1].tolist() == [4, -4]
    assert at[40].tolist() == [0, 0] and at[1].tolist() == [-3, 4]
    bare = LatentExplorer(small(), image_shape=(3, 4))
    pointed = LatentExplorer(small(), torch.zeros(1, 2), image_shape=(3, 4))
    assert bare.still() != pointed.still()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"image_shape": (3, 5)}, "image_shape 3 x 5 does not hold the 12 decoded values"),
        ({"points": torch.zeros(4, 3)}, r"points must .* shape \[N, 2\], not \[4, 3\]"),
        ({"points": torch.full((1, 2), torch.nan)}, "points must be finite"),
        ({"labels": [0, 1]}, r"labels must hold one class a point, \[0\], not \[2\]"),
        ({"points": torch.zeros(1, 2), "labels": [-1]}, "whole numbers from 0"),
        ({"points": torch.zeros(1, 2), "labels": [2], "classes": ["a"]}, "classes names 1"),
        ({"extent": 0.0}, "extent must be a finite number above 0"),
        ({"z": (9.0, 0.0)}, "z must be two numbers"),
    ],
)
def test_what_does_not_fit_is_refused(settings, said):
    with pytest.raises(ValueError, match=said):
        LatentExplorer(small(), **{"image_shape": (3, 4), **settings})


def test_models_that_it_cannot_show_are_refused():
    with pytest.raises(ValueError, match="latent_dim=2, not 3"):
        LatentExplorer(VAE.mlp(12, latent_dim=3, device="cpu"), image_shape=(3, 4))
    model = small()
    model.decoder[1] = nn.Dropout(0.5)
    with pytest.raises(ValueError, match="Dropout"):
        LatentExplorer(model, image_shape=(3, 4))
    with pytest.raises(ValueError, match="an nn.Sequential, as VAE.mlp builds them, not Linear"):
        LatentExplorer(VAE(model.encoder, nn.Linear(2, 12), 2), image_shape=(3, 4))


def test_a_decoder_that_is_no_chain_of_its_layers_is_refused():
    class Skips(nn.Sequential):
        def forward(self, z):
            return super().forward(z) + 1

    model = small()
    model.decoder.__class__ = Skips
    with pytest.raises(ValueError, match="one after the other"):
        LatentExplorer(model, image_shape=(3, 4))
