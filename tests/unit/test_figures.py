"""Shared figures show what they say."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from torch.distributions import Normal

from vae_tutorial.book import figures
from vae_tutorial.families import Gaussian
from vae_tutorial.model import VAE
from vae_tutorial.training import History


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def test_images_are_drawn_dark_on_white_in_order():
    figures.use_style()
    x = torch.rand(5, 12, generator=torch.Generator().manual_seed(0))
    figure = figures.show_images(x, (3, 4), rows=2, row_labels=["a", "b"], title="t")
    drawn = [np.asarray(ax.images[0].get_array()) for ax in figure.axes if ax.images]
    np.testing.assert_array_equal(np.stack(drawn).reshape(5, 12), x.numpy())
    image = figure.axes[0].images[0]
    assert image.get_clim() == (0, 1) and image.get_cmap()(0.0)[:3] == (1, 1, 1)
    with pytest.raises(ValueError, match=r"\[B, 15\]"):
        figures.show_images(x, (3, 5))
    with pytest.raises(ValueError, match="row_labels must name each of the 2 rows"):
        figures.show_images(x, (3, 4), rows=2, row_labels=["a"])


def test_scatter_names_each_class():
    z = torch.tensor([[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]])
    figure = figures.latent_scatter(z, torch.tensor([3, 3, 7]))
    assert [t.get_text() for t in figure.axes[0].texts] == ["3", "7"]
    assert figure.axes[0].get_xlabel() == "$z_1$"


def test_manifold_puts_each_quantile_in_its_place():
    """A decoder whose four pixels show Φ(z1) and Φ(z2): the picture must be the grid of u."""

    class Decoder(torch.nn.Module):
        def forward(self, z):
            u = Normal(0.0, 1.0).cdf(z)
            return torch.cat([u, u], -1)

    model = VAE(torch.nn.Identity(), Decoder(), 2, likelihood=Gaussian("fixed"))
    figure = figures.manifold(model, (1, 4), side=4)
    picture = np.asarray(figure.axes[0].images[0].get_array()).reshape(4, 4, 4)
    u = (np.arange(4) + 0.5) / 4
    np.testing.assert_allclose(picture[:, :, 0], np.tile(u, (4, 1)), atol=1e-6)
    np.testing.assert_allclose(picture[:, :, 1], np.tile(u[::-1, None], (1, 4)), atol=1e-6)
    framed = figures.manifold(model, (1, 4), side=4, gap=1)
    shown = np.asarray(framed.axes[0].images[0].get_array()).reshape(4, 3, 4, 6)
    np.testing.assert_array_equal(shown[:, 1, :, 1:-1], picture)
    assert shown[:, [0, 2]].max() == 0 and shown[..., [0, 5]].max() == 0
    with pytest.raises(ValueError, match="2 latent dimensions, and this model has 3"):
        figures.manifold(VAE.mlp(4, 3), (2, 2))


def test_history_draws_both_curves():
    record = History([-3.0, -2.0], [-2.0, -1.0], [1.0, 1.0], [-3.5, -2.5], step=[1, 2])
    lines = figures.history(record).axes[0].lines
    assert [list(line.get_ydata()) for line in lines] == [record.elbo, record.valid_elbo]


def _luminance(color):
    rgb = np.array([int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return linear @ [0.2126, 0.7152, 0.0722]


def test_line_colors_have_contrast_on_white():
    """WCAG 2.1, 1.4.11: graphics need a contrast of 3 to 1."""
    for name in ("BLUE", "ORANGE", "GREEN", "RED", "PURPLE", "GREY"):
        assert 1.05 / (_luminance(getattr(figures, name)) + 0.05) >= 3, name
