"""The still picture of a LatentExplorer: the plane with its points, and the decoded image."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

MIN_CONTRAST = 3.0  # of a point on white
COLORS = 48
TILES, TILE_INK = 9, 0.35  # the map behind a plane without points, as in latent_explorer.js


def legible(color: str) -> str:
    """The color, darkened until small marks of it read on white (WCAG contrast 3:1)."""
    rgb = np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    while 1.05 / (_luminance(rgb) + 0.05) < MIN_CONTRAST:
        rgb = rgb * 0.97
    return "#" + "".join(f"{round(255 * v):02x}" for v in rgb)


def _luminance(rgb: NDArray[np.float64]) -> float:
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def tile_centers(extent: float) -> NDArray[np.float32]:
    """Where the map's tiles stand in the plane, [TILES², 2], row by row from the top."""
    u = (np.arange(TILES, dtype=np.float32) + 0.5) * (2 * extent / TILES) - extent
    z1, z2 = np.meshgrid(u, u[::-1])
    return np.stack([z1.ravel(), z2.ravel()], axis=1)


def draw(
    image: NDArray[np.float32],
    tiles: NDArray[np.float32] | None,
    points: NDArray[np.float32],
    labels: NDArray[np.uint8],
    *,
    classes: Sequence[str],
    palette: Sequence[str],
    extent: float,
    z: Sequence[float],
) -> bytes:
    """The picture as PNG bytes, the same for the same input."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from PIL import Image

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        figure = Figure(figsize=(7.2, 4.1), dpi=110, layout="constrained")
        FigureCanvasAgg(figure)
        plane, picture = figure.subplots(1, 2, width_ratios=(3, 2))
        if tiles is not None:
            rows, cols = image.shape
            grid = tiles.reshape(TILES, TILES, rows, cols).transpose(0, 2, 1, 3)
            mosaic = np.clip(grid.reshape(TILES * rows, TILES * cols), 0, 1)
            edges = (-extent, extent, -extent, extent)
            plane.imshow(TILE_INK * mosaic, cmap="gray_r", vmin=0, vmax=1, extent=edges)
        _draw_points(plane, points, labels, classes, palette)
        plane.plot(*z, "o", ms=12, mfc="none", mec="white", mew=5)
        plane.plot(*z, "o", ms=12, mfc="none", mec="black", mew=2)
        plane.set(xlim=(-extent, extent), ylim=(-extent, extent), aspect="equal")
        plane.set(xlabel="$z_1$", ylabel="$z_2$", title="latent plane")
        plane.grid(alpha=0.2)
        picture.imshow(np.clip(image, 0, 1), cmap="gray_r", vmin=0, vmax=1)
        picture.set(xticks=[], yticks=[], title=f"decoded at z = ({z[0]:.2f}, {z[1]:.2f})")
        drawn = io.BytesIO()
        figure.savefig(drawn, format="png")
    small = io.BytesIO()  # few colors suffice, and every notebook carries the picture
    Image.open(drawn).convert("RGB").quantize(COLORS).save(small, "png", optimize=True)
    return small.getvalue()


def _draw_points(
    plane: Any,
    points: NDArray[np.float32],
    labels: NDArray[np.uint8],
    classes: Sequence[str],
    palette: Sequence[str],
) -> None:
    if not labels.size:
        plane.scatter(*points.T, s=6, color=palette[0], linewidths=0)
    for k in np.unique(labels):
        numeral = len(classes[k]) == 1 and classes[k].isalnum()
        marker = f"$\\mathrm{{{classes[k]}}}$" if numeral else "o"
        chosen = points[labels == k]
        plane.scatter(*chosen.T, s=22, color=palette[k], marker=marker, linewidths=0)
