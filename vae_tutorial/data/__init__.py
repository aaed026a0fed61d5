"""Data sets by name, from your own folder, the cache or their publishers."""

from vae_tutorial.data.loading import (
    PIXELS,
    Dataset,
    Split,
    binarize,
    has_pixels,
    is_alignment,
    load,
    load_alignment,
)

__all__ = [
    "PIXELS",
    "Dataset",
    "Split",
    "binarize",
    "has_pixels",
    "is_alignment",
    "load",
    "load_alignment",
]
