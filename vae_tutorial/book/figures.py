"""Figures that several chapters share, in one house style.

Every function returns a ``matplotlib.figure.Figure``. Colors are told apart by readers with any
color vision, and classes carry their names as well as their colors.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import torch
from cycler import cycler
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.offsetbox import AnchoredText
from torch import Tensor

from vae_tutorial.model import VAE
from vae_tutorial.support import inputs
from vae_tutorial.training import History

BLUE, ORANGE, GREEN, RED, PURPLE, GREY = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#B2182B",
    "#7B5EA7",
    "#6B7280",
)
"""The book's colors for lines: of Okabe & Ito's palette, the ones with contrast on white."""

PALETTE = (
    "#332288",
    "#88CCEE",
    "#44AA99",
    "#117733",
    "#999933",
    "#DDCC77",
    "#CC6677",
    "#882255",
    "#AA4499",
    "#777777",
)
"""Ten colors for ten classes: Paul Tol's scheme "muted", for any color vision."""


def use_style() -> None:
    """Sets matplotlib to the book's style: call it once, in a chapter's setup cell."""
    plt.rcParams.update(
        {
            "figure.figsize": (7.0, 4.0),
            "figure.dpi": 110,
            "savefig.dpi": 110,
            "figure.facecolor": "white",
            "figure.constrained_layout.use": True,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.titlesize": 12,
            "axes.labelsize": 12,
            "axes.prop_cycle": cycler(color=[BLUE, ORANGE, GREEN, PURPLE, RED, GREY]),
            "font.size": 12,
            "legend.frameon": False,
            "lines.linewidth": 2.0,
            "image.cmap": "gray_r",
        }
    )


def show_images(
    x: Tensor,
    shape: tuple[int, int],
    *,
    rows: int = 1,
    row_labels: Sequence[str] | None = None,
    title: str | None = None,
) -> Figure:
    """Draws images x [N, D], each of the given height and width, in a grid of ``rows`` rows.

    Ink is dark: 0 is white, 1 is black.

    Raises:
        ValueError: the sizes do not fit together.
    """
    height, width = shape
    inputs.batch("x", x, height * width)
    inputs.positive_int("rows", rows)
    columns = math.ceil(len(x) / rows)
    if row_labels is not None and len(row_labels) != rows:
        raise ValueError(f"row_labels must name each of the {rows} rows, not {len(row_labels)}")
    margin = 1.4 if row_labels else 0.0
    figure, axes = plt.subplots(
        rows, columns, squeeze=False, figsize=(0.75 * columns + margin, 0.8 * rows + 0.3)
    )
    images = x.detach().cpu().reshape(-1, height, width).numpy()
    for position, ax in enumerate(axes.flat):
        if position < len(images):
            ax.imshow(images[position], vmin=0, vmax=1)
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_visible(False)
    for ax, label in zip(axes[:, 0], row_labels or (), strict=False):
        ax.set_ylabel(label, rotation=0, ha="right", va="center")
    if title:
        figure.suptitle(title)
    return figure


def latent_scatter(z: Tensor, labels: Tensor, ax: Axes | None = None) -> Figure:
    """Draws codes z [N, 2] in the latent plane, colored by class; each class's number stands at
    its median, so that color is not the only sign."""
    inputs.batch("z", z, 2)
    points, classes = z.detach().cpu().numpy(), labels.cpu().numpy()
    if ax is None:
        _, ax = plt.subplots(figsize=(6.0, 5.6))
    for k in np.unique(classes):
        mine = points[classes == k]
        ax.scatter(mine[:, 0], mine[:, 1], s=7, color=PALETTE[k % 10], alpha=0.7, linewidths=0)
    for k in np.unique(classes):  # above all points
        center = np.median(points[classes == k], axis=0)
        ax.text(
            center[0],
            center[1],
            str(k),
            color=PALETTE[k % 10],
            fontsize=17,
            fontweight="bold",
            ha="center",
            va="center",
            path_effects=[patheffects.withStroke(linewidth=4, foreground="white")],
        )
    ax.set(xlabel="$z_1$", ylabel="$z_2$", aspect="equal")
    return _figure(ax)


@torch.no_grad()
def manifold(model: VAE, shape: tuple[int, int], side: int = 15, gap: int = 0) -> Figure:
    """Draws the 2-D manifold: the decoder's mean over a side × side grid of the latent plane.

    The grid is evenly spaced in probability, not in z: z = Φ⁻¹(u), with Φ the normal CDF and
    u = (i − ½) / side, so that each image stands for the same mass of the prior. ``gap`` white
    pixels frame each image, for images without a margin of their own.

    Source: Kingma & Welling (2014), figure 4 and appendix A.
    """
    inputs.positive_int("side", side)
    if model.latent_dim != 2:
        raise ValueError(
            f"the manifold is drawn for 2 latent dimensions, and this model has {model.latent_dim}"
        )
    u = (torch.arange(side, dtype=torch.float32, device=model.device) + 0.5) / side
    quantile = torch.special.ndtri(u)
    z = torch.cartesian_prod(quantile.flip(0), quantile).flip(1)  # rows: z2 from top to bottom
    height, width = shape
    images = model.decode(z).mean.cpu().reshape(side, side, height, width)
    images = torch.nn.functional.pad(images, (gap, gap, gap, gap))
    height, width = height + 2 * gap, width + 2 * gap
    mosaic = images.permute(0, 2, 1, 3).reshape(side * height, side * width)
    figure, ax = plt.subplots(figsize=(6.4, 6.4))
    ax.imshow(mosaic.numpy(), vmin=0, vmax=1)
    marks = torch.tensor([-1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5])
    places = torch.special.ndtr(marks)  # in [0, 1] along an axis
    names = [f"{mark:g}" for mark in marks.tolist()]
    ax.set_xticks((places * side * width - 0.5).tolist(), names)
    ax.set_yticks(((1 - places) * side * height - 0.5).tolist(), names)
    ax.set(xlabel="$z_1$, in equal steps of probability", ylabel="$z_2$")
    return figure


def history(record: History, ax: Axes | None = None) -> Figure:
    """Draws training: the ELBO of the training batches and of the held-out examples, or the
    objective where it has no ELBO."""
    if ax is None:
        _, ax = plt.subplots()
    if record.elbo:
        ax.plot(record.epoch, record.elbo, label="training ELBO")
    else:
        ax.plot(record.epoch, record.objective, label="training objective")
    if record.valid_elbo:
        ax.plot(record.epoch, record.valid_elbo, "--", label="held-out ELBO")
    ax.set(xlabel="epoch" if record.steps_per_epoch else "step", ylabel="nats per image")
    ax.add_artist(AnchoredText("higher is better", loc="lower center", frameon=False))
    ax.legend(loc="lower right")
    return _figure(ax)


def _figure(ax: Axes) -> Figure:
    figure = ax.get_figure()
    assert isinstance(figure, Figure)
    return figure
