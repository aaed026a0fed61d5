"""Interactive figures that go on working on a static page, with no kernel and no network.

Each is an anywidget: a Python class beside its JavaScript. They need the extra ``book``.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vae_tutorial.book.widgets.latent_explorer import LatentExplorer

__all__ = ["LatentExplorer"]


def __getattr__(name: str) -> Any:
    if name != "LatentExplorer":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if find_spec("anywidget") is None:
        raise ImportError(
            "the widgets need anywidget, which is not installed; "
            'pip install "vae_tutorial[book]" brings it'
        )
    from vae_tutorial.book.widgets.latent_explorer import LatentExplorer

    return LatentExplorer


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
