"""Training: ``fit``, and what it stands on."""

from vae_tutorial.training.checkpoint import Checkpoint
from vae_tutorial.training.history import History
from vae_tutorial.training.loop import fit
from vae_tutorial.training.saving import load_model, save_model
from vae_tutorial.training.state import DivergenceError

__all__ = [
    "Checkpoint",
    "DivergenceError",
    "History",
    "fit",
    "load_model",
    "save_model",
]
