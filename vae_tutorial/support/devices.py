"""Where code runs: one place chooses the device."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path
from typing import Any

import torch

import vae_tutorial


def default_device() -> torch.device:
    """The device to compute on: ``VAE_TUTORIAL_DEVICE`` if it is set, else CUDA if there is one,
    else the CPU.

    Raises:
        ValueError: the variable names a device that torch does not know or that is not here.
    """
    name = os.environ.get("VAE_TUTORIAL_DEVICE", "").strip()
    if not name:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"VAE_TUTORIAL_DEVICE={name!r} cannot be used ({reason}); "
            f"set it to 'cpu' or 'cuda', or leave it unset"
        ) from error
    return device


def machine(device: torch.device) -> dict[str, Any]:
    """What computes: the name of a GPU, or of the processor with the threads that it uses, and the
    versions."""
    listed = Path("/proc/cpuinfo")  # of Linux
    name = re.search(r"model name\s*: (.*)", listed.read_text() if listed.exists() else "")
    processor = name[1].strip() if name else platform.processor() or platform.machine()
    hardware = f"{processor}, {torch.get_num_threads()} threads"
    if device.type == "cuda":
        hardware = torch.cuda.get_device_name(device)
    versions = {"torch": torch.__version__, "python": platform.python_version()}
    versions["vae_tutorial"] = vae_tutorial.__version__
    return {"device": device.type, "hardware": hardware, "versions": versions}


def keep_freed_memory() -> None:
    """Makes the C library of Linux keep the memory of large tensors for the next ones.

    It gives back to the system what it has free beyond twice the largest block it ever gave back
    (mallopt(3), M_MMAP_THRESHOLD), so that a loop over tensors of some MiB asks for the same pages
    again and again. A block just below the limit of 32 MiB, never touched, is allocated and freed.
    """
    torch.empty(2**25 - 2**16, dtype=torch.uint8)  # made and freed at once: that is all it takes
