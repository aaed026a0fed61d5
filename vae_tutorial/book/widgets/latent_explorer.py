"""LatentExplorer: move a point over the latent plane and watch the decoder's image follow.

The browser computes the decoder from its weights (latent_explorer.js), so that the widget lives on
a static page. Where no script runs, the still picture of _still.py stands in its place.
"""

from __future__ import annotations

import math
from base64 import b64encode
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anywidget
import numpy as np
import torch
import traitlets
from numpy.typing import NDArray

from vae_tutorial.book.figures import PALETTE
from vae_tutorial.book.widgets import _layers, _still
from vae_tutorial.model import VAE

HERE = Path(__file__).parent


class LatentExplorer(anywidget.AnyWidget):  # type: ignore[misc]
    """The decoder of a VAE with a two-dimensional latent space, explored by hand.

    Pointer, touch and arrow keys move ``z``; the image shown is the decoder's mean.

    Args:
        model: its decoder is an MLP as in :meth:`VAE.mlp`, its latent space two-dimensional.
        points: encoded images to draw in the plane, [N, 2], such as ``model.encode(x).mu``;
            without them the plane shows faint decoded images as its map.
        labels: the class of each point, [N], whole numbers from 0.
        image_shape: rows and columns of the decoded image.
        extent: the plane reaches from -extent to extent in both directions.
        classes: the name of each class; by default its number. A name of one character is drawn
            as the point itself, so that classes differ by more than color.
        z: where the point starts.

    Raises:
        ValueError: a model that the explorer cannot show, or points, labels, a shape, an extent
            or a start that do not fit.
    """

    _esm = HERE / "latent_explorer.js"
    _css = HERE / "latent_explorer.css"

    weights = traitlets.Bytes().tag(sync=True)  # float16: W and b of each layer, in order
    layers = traitlets.List().tag(sync=True)
    points = traitlets.Bytes().tag(sync=True)  # float16, [N, 2]
    labels = traitlets.Bytes().tag(sync=True)  # uint8, [N], or empty
    classes = traitlets.List().tag(sync=True)
    palette = traitlets.List().tag(sync=True)
    image_shape = traitlets.List().tag(sync=True)
    extent = traitlets.Float().tag(sync=True)
    z = traitlets.List().tag(sync=True)

    def __init__(
        self,
        model: VAE,
        points: torch.Tensor | None = None,
        labels: torch.Tensor | Sequence[int] | None = None,
        image_shape: tuple[int, int] = (28, 28),
        extent: float = 3.5,
        classes: Sequence[str] | None = None,
        z: tuple[float, float] = (0.0, 0.0),
    ) -> None:
        if model.latent_dim != 2:
            raise ValueError(
                f"the explorer shows a plane and needs latent_dim=2, not {model.latent_dim}"
            )
        if not (math.isfinite(extent) and extent > 0):
            raise ValueError(f"extent must be a finite number above 0, not {extent!r}")
        if len(z) != 2 or not all(abs(v) <= extent for v in z):
            raise ValueError(f"z must be two numbers between -{extent:g} and {extent:g}, not {z}")
        self._layers = _layers.decoder_layers(model)
        rows, cols = image_shape
        width = self._layers[-1].bias.size
        if rows * cols != width:
            raise ValueError(
                f"image_shape {rows} x {cols} does not hold the {width} decoded values"
            )
        self._points = _checked_points(points)
        self._labels = _checked_labels(labels, len(self._points))
        count = int(self._labels.max(initial=0)) + 1 if self._labels.size else 0
        names = [str(k) for k in range(count)] if classes is None else list(classes)
        if len(names) < count:
            raise ValueError(f"classes names {len(names)} classes, but labels has {count}")
        colors = [_still.legible(PALETTE[k % len(PALETTE)]) for k in range(max(len(names), 1))]
        super().__init__(
            weights=_layers.float16_bytes([a for k in self._layers for a in (k.weight, k.bias)]),
            layers=[layer.description for layer in self._layers],
            points=_layers.float16_bytes([self._points]),
            labels=self._labels.tobytes(),
            classes=names,
            palette=colors,
            image_shape=[int(rows), int(cols)],
            extent=float(extent),
            z=[float(v) for v in z],
        )

    def still(self) -> bytes:
        """The picture that stands for the widget where no script runs, as PNG."""
        image = _layers.forward(self._layers, np.asarray([self.z], np.float32))[0]
        at = _still.tile_centers(self.extent)
        tiles = _layers.forward(self._layers, at).reshape(-1, *self.image_shape)
        return _still.draw(
            image.reshape(self.image_shape),
            None if len(self._points) else tiles,
            self._points,
            self._labels,
            classes=self.classes,
            palette=self.palette,
            extent=self.extent,
            z=self.z,
        )

    def __repr__(self) -> str:
        rows, cols = self.image_shape
        return f"LatentExplorer({len(self._points)} points, {rows} x {cols} image)"

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        data, metadata = super()._repr_mimebundle_(**kwargs)
        return {**data, "image/png": b64encode(self.still()).decode()}, metadata


def _checked_points(points: torch.Tensor | None) -> NDArray[np.float32]:
    if points is None:
        return np.zeros((0, 2), np.float32)
    array = torch.as_tensor(points).detach().to("cpu", torch.float32).numpy()
    if array.ndim != 2 or array.shape[1] != 2 or not np.isfinite(array).all():
        raise ValueError(f"points must be finite and have shape [N, 2], not {list(array.shape)}")
    return array


def _checked_labels(labels: torch.Tensor | Sequence[int] | None, count: int) -> NDArray[np.uint8]:
    if labels is None:
        return np.zeros(0, np.uint8)
    array = torch.as_tensor(labels).to("cpu").numpy()
    if array.shape != (count,):
        raise ValueError(f"labels must hold one class a point, [{count}], not {list(array.shape)}")
    if array.size and (array.dtype.kind not in "iu" or array.min() < 0 or array.max() > 255):
        raise ValueError("labels must be whole numbers from 0 to 255")
    return array.astype(np.uint8)
