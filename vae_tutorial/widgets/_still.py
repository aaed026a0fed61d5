"""The still picture of a LatentExplorer: the plane with its points, and the decoded image."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

# ten classes, distinguishable with the common color-vision deficiencies, at least 3:1 on white
PALETTE = (
    "#332288", "#0072b2", "#117733", "#882255", "#b35900",
    "#8a6d00", "#aa4499", "#1b8a8a", "#c0392b", "#555555",
)  # fmt: skip


def draw(
    image: NDArray[np.float32],
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

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        figure = Figure(figsize=(7.2, 4.1), dpi=110, layout="constrained")
        canvas = FigureCanvasAgg(figure)
        plane, picture = figure.subplots(1, 2, width_ratios=(3, 2))
        _draw_points(plane, points, labels, classes, palette)
        plane.plot(*z, "o", ms=12, mfc="none", mec="white", mew=5)
        plane.plot(*z, "o", ms=12, mfc="none", mec="black", mew=2)
        plane.set(xlim=(-extent, extent), ylim=(-extent, extent), aspect="equal")
        plane.set(xlabel="$z_1$", ylabel="$z_2$", title="latent plane")
        plane.grid(alpha=0.2)
        picture.imshow(np.clip(image, 0, 1), cmap="gray_r", vmin=0, vmax=1)
        picture.set(xticks=[], yticks=[], title=f"decoded at z = ({z[0]:.2f}, {z[1]:.2f})")
        buffer = io.BytesIO()
        canvas.print_png(buffer, metadata={"Software": None})
    return buffer.getvalue()


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
