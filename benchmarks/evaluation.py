"""How fast log p(x) is estimated, beside the matrix products that it cannot do without.

``python benchmarks/evaluation.py [--images 40] [--rounds 7]``: 5,000 samples for each MNIST test
image, model 784-400-20. Both contenders take turns in one process; medians. The cost is linear in
the images; ``--images 10000`` is the whole test set.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import time

import torch

from vae_tutorial import data, evaluation
from vae_tutorial.model import VAE
from vae_tutorial.runtime import default_device

SAMPLES, CHUNK = 5000, 1000  # samples of an image; rows of one matrix product


def matrix_products(images: int, device: torch.device) -> None:
    """Those of the decoder, 20-400-784, for every sample, and nothing else."""
    z, h = torch.randn(CHUNK, 20, device=device), torch.randn(CHUNK, 400, device=device)
    inner, outer = torch.randn(400, 20, device=device), torch.randn(784, 400, device=device)
    first, second = torch.empty(CHUNK, 400, device=device), torch.empty(CHUNK, 784, device=device)
    with torch.no_grad():
        for _ in range(images * SAMPLES // CHUNK):
            torch.mm(z, inner.T, out=first)
            torch.mm(h, outer.T, out=second)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    device = default_device()
    x = data.load("mnist", device=device).test.x[: options.images]
    model = VAE.mlp(784, 20, hidden=(400,), activation="relu", device=device)
    runs = {
        "matrix products only": lambda: matrix_products(options.images, device),
        "log_evidence": lambda: evaluation.log_evidence(model, x, SAMPLES, rng=0),
    }
    times: dict[str, list[float]] = {name: [] for name in runs}
    for round_ in range(options.rounds + 1):
        for name, run in runs.items():
            began = time.perf_counter()
            run()
            if device.type == "cuda":
                torch.cuda.synchronize()
            if round_ or not options.rounds:
                times[name].append(time.perf_counter() - began)
    bound = statistics.median(times["matrix products only"])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"device {device}, {torch.get_num_threads()} threads, load {os.getloadavg()[0]:.1f}, "
          f"peak {peak:.0f} MiB")  # fmt: skip
    print(f"\n| {options.images:,} images × {SAMPLES:,} samples | seconds | × matrix products |")
    print("| --- | --- | --- |")
    for name, values in times.items():
        each = statistics.median(values)
        print(f"| {name} | {each:.2f} | {each / bound:.2f} |")


if __name__ == "__main__":
    main()
