"""What results say beside their settings: scores with standard errors, and what computed them."""

from __future__ import annotations

import math
import platform
import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import vae_tutorial
from vae_tutorial.objectives import Elbo

UNIT = "nats per example, summed over its dimensions; higher is better for all but kl"


def mean(values: Tensor) -> dict[str, float]:
    """The mean over the examples and its standard error, sd / √N."""
    values = values.double()
    error = float(values.std() / math.sqrt(len(values)))
    return {"mean": float(values.mean()), "standard_error": error}


def of_elbo(terms: Elbo) -> dict[str, dict[str, float]]:
    """The ELBO and its two terms. One sample of z for each example is unbiased, and its noise is
    part of the standard errors."""
    values = {"elbo": terms.value, "reconstruction": terms.reconstruction, "kl": terms.kl}
    return {name: mean(value) for name, value in values.items()}


def shown(score: dict[str, float]) -> str:
    """A score as a person reads it."""
    return f"{score['mean']:.2f} ± {score['standard_error']:.2f}"


def made_by(device: torch.device, processes: int = 1) -> dict[str, Any]:
    """What computed a result."""
    listed = Path("/proc/cpuinfo")  # of Linux
    name = re.search(r"model name\s*: (.*)", listed.read_text() if listed.exists() else "")
    processor = name[1].strip() if name else platform.processor() or platform.machine()
    hardware = f"{processor}, {torch.get_num_threads()} threads"
    if device.type == "cuda":
        hardware = torch.cuda.get_device_name(device)
    versions = {"vae_tutorial": vae_tutorial.__version__, "torch": torch.__version__}
    versions["python"] = platform.python_version()
    made = {"device": device.type, "hardware": hardware, "processes": processes}
    return {**made, "versions": versions}
