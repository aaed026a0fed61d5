"""Draw the front page's picture: the digits that the 2-D decoder draws over its latent plane.

python -m tools.hero        writes web/static/hero.png
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image, PngImagePlugin

from vae_tutorial.book import pretrained

TARGET = Path(__file__).resolve().parents[1] / "web" / "static" / "hero.png"
ROWS, COLUMNS, SIDE, SCALE = 7, 20, 28, 2
LEFT, RIGHT = (11, 110, 138), (201, 94, 30)  # the book's blue and orange: read on white and black


def digits() -> np.ndarray:
    """Means [ROWS * SIDE, COLUMNS * SIDE] on a grid of equal probability under the prior."""
    model = pretrained.load("mnist_2d")
    normal = torch.distributions.Normal(0.0, 1.0)
    across = normal.icdf(torch.linspace(0.02, 0.98, COLUMNS))
    down = normal.icdf(torch.linspace(0.93, 0.07, ROWS))
    z = torch.stack(torch.meshgrid(across, down, indexing="xy"), dim=-1).reshape(-1, 2)
    with torch.no_grad():
        x = model.decode(z.to(next(model.parameters()).device)).mean.cpu()
    tiles = x.reshape(ROWS, COLUMNS, SIDE, SIDE).permute(0, 2, 1, 3)
    return tiles.reshape(ROWS * SIDE, COLUMNS * SIDE).numpy()


def main() -> None:
    ink = Image.fromarray((255 * digits()).round().astype(np.uint8))
    ink = ink.resize((ink.width * SCALE, ink.height * SCALE), Image.Resampling.BICUBIC)
    share = np.linspace(0, 1, ink.width)[None, :, None]
    color = (1 - share) * np.array(LEFT) + share * np.array(RIGHT)
    color = np.broadcast_to(color, (ink.height, ink.width, 3)).round().astype(np.uint8)
    levels = np.asarray(ink) // 8 * 8  # fewer levels: a smaller file
    picture = Image.fromarray(np.dstack([color, levels]), "RGBA")
    picture.save(TARGET, optimize=True, pnginfo=PngImagePlugin.PngInfo())
    print(f"{TARGET.name}: {picture.width} x {picture.height}, {TARGET.stat().st_size >> 10} KiB")


if __name__ == "__main__":
    main()
