"""Lets the tests of estimators import the exactly solvable VAE that they share; one thread for
those that ask for it."""

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent))


@pytest.fixture
def one_thread():
    """Torch computes on one thread: the same bits as in a process that was told so."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
