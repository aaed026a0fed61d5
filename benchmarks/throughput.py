"""How fast training is, beside the loops people use and beside its own matrix products.

``python benchmarks/throughput.py [--rounds 15]`` runs all contenders in turn in one process, takes
medians, and prints a table: (a) the textbook loop, (b) the same on a TensorDataset, (c) only the
matrix products of a step, and ``fit`` as it is, in bfloat16, and compiled. Real MNIST.
"""

from __future__ import annotations

import argparse
import os
import statistics
import threading
import time
from typing import Any

import baselines
import torch

from vae_tutorial import data, training
from vae_tutorial.history import History
from vae_tutorial.model import VAE
from vae_tutorial.runtime import default_device

Sizes = tuple[int, int, int, int]  # data, hidden, latent, hidden layers
SETTINGS: list[tuple[str, Sizes, int, int]] = [
    ("784-400-20, batch 128", (784, 400, 20, 1), 128, 20),
    ("784-400-20, batch 500", (784, 400, 20, 1), 500, 8),
    ("784-200-200-50, batch 20", (784, 200, 50, 2), 20, 60),
]


class Ours:
    """``fit`` in a thread of its own, which takes a turn of so many steps when it is asked to: the
    loop is timed as users run it, without what comes before the first step."""

    def __init__(self, x: torch.Tensor, sizes: Sizes, batch_size: int, turn: int, **more: Any):
        width, hidden, latent_dim, layers = sizes
        model = VAE.mlp(width, latent_dim, [hidden] * layers, activation="relu")
        self._go, self._done, self._end = threading.Semaphore(0), threading.Semaphore(0), False
        settings = {"batch_size": batch_size, "epochs": 10_000, "every": turn, "progress": False}
        settings |= {"callbacks": [self._pause], **more}
        self._thread = threading.Thread(
            target=training.fit, args=(model, x), kwargs=settings, daemon=True
        )
        self._thread.start()
        self._done.acquire()  # the first turn warms up

    def _pause(self, model: VAE, history: History) -> bool:
        self._done.release()
        self._go.acquire()
        return self._end

    def __call__(self, steps: int) -> None:
        self._go.release()
        self._done.acquire()

    def close(self) -> None:
        """Ends the thread."""
        self._end = True
        self._go.release()
        self._thread.join()


def contenders(sizes: Sizes, batch_size: int, turn: int, device: torch.device) -> dict[str, Any]:
    grey = data.load("mnist", pixels="grey", device="cpu").train.x
    images = (grey * 255).round().to(torch.uint8).view(-1, 28, 28)
    x = (grey > 0.5).float()
    found = {
        "(a) textbook loop, images decoded": baselines.textbook(
            baselines.DecodedImages(images), sizes, batch_size, device
        ),
        "(b) textbook loop, TensorDataset": baselines.textbook(
            baselines.tensor_dataset(x), sizes, batch_size, device
        ),
        "(c) matrix products only": baselines.matrix_products(sizes, batch_size, device),
        "fit": Ours(x, sizes, batch_size, turn),
        "fit, bf16": Ours(x, sizes, batch_size, turn, precision="bf16"),
        "fit, compiled": Ours(x, sizes, batch_size, turn, compile=True),
        "fit, bf16, compiled": Ours(x, sizes, batch_size, turn, precision="bf16", compile=True),
    }
    return found


def measure(
    runs: dict[str, Any], turn: int, rounds: int, device: torch.device
) -> dict[str, float]:
    """Median seconds of a step, by contender; one turn each, in every round."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for round_ in range(rounds + 1):
        for name, run in runs.items():
            if device.type == "cuda":
                torch.cuda.synchronize()
            began = time.perf_counter()
            run(turn)
            if device.type == "cuda":
                torch.cuda.synchronize()
            if round_:  # the first round warms up
                times[name].append((time.perf_counter() - began) / turn)
    return {name: statistics.median(values) for name, values in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--only", type=int, help="a batch size")
    options = parser.parse_args()
    device = default_device()
    print(f"device {device}, {torch.get_num_threads()} threads, load {os.getloadavg()[0]:.1f}, "
          f"torch {torch.__version__.split('+')[0]}")  # fmt: skip
    for title, sizes, batch_size, turn in SETTINGS:
        if options.only not in (None, batch_size):
            continue
        runs = contenders(sizes, batch_size, turn, device)
        seconds = measure(runs, turn, options.rounds, device)
        textbook, _, bound = list(seconds.values())[:3]
        print(f"\n| {title} | images/s | ms a step | × (a) | of (c) |")
        print("| --- | --- | --- | --- | --- |")
        for name, each in seconds.items():
            print(
                f"| {name} | {batch_size / each:,.0f} | {1e3 * each:.2f} | {textbook / each:.2f} "
                f"| {bound / each:.2f} |"
            )
        for run in runs.values():
            if isinstance(run, Ours):
                run.close()


if __name__ == "__main__":
    main()
