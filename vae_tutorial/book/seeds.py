"""Where the seeds of all chapters come from."""

from __future__ import annotations

import os


def chapter_seed(seed: int) -> int:
    """The seed that a chapter uses where it says ``seed``.

    ``VAE_TUTORIAL_SEED_OFFSET`` (0 unless set) moves all seeds of the book at once, which is how
    claims are shown to hold for other seeds too.
    """
    raw = os.environ.get("VAE_TUTORIAL_SEED_OFFSET", "0")
    try:
        offset = int(raw)
    except ValueError:
        raise ValueError(
            f"VAE_TUTORIAL_SEED_OFFSET={raw!r} is not a whole number; set it to one, such as 3"
        ) from None
    return seed + 1000 * offset
