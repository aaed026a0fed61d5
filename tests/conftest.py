"""Settings for all tests: the data folder, deterministic property tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parents[1]
os.environ.setdefault("MPLBACKEND", "agg")
settings.register_profile("book", deadline=None, derandomize=True)
settings.load_profile("book")


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository's root."""
    return ROOT


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of real data; tests that need it are skipped where it is missing, and fail
    where REQUIRE_DATA says that it must be there."""
    folder = os.environ.get("VAE_TUTORIAL_DATA", "")
    if folder and (Path(folder) / "mnist").is_dir():
        return Path(folder)
    message = "VAE_TUTORIAL_DATA does not name a folder with mnist/ in it"
    if os.environ.get("REQUIRE_DATA"):
        pytest.fail(message)
    pytest.skip(message)
