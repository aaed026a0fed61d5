"""How fast training is, beside the loops people use and beside its own matrix products.

``python benchmarks/throughput.py [--rounds 15]`` runs all contenders in turn, takes medians, and
prints a table: (a) the textbook loop, (b) the same on a TensorDataset, (c) only the matrix
products of a step, (d) the barest loop in plain PyTorch, and ``fit`` as it is, in bfloat16, and
compiled. Real MNIST. ``--after 3000`` trains so many steps before: by then numbers that are too
small to matter have slowed down every loop that keeps them (``State.drop_subnormal_numbers``).
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import baselines
import torch
from torch.utils.data import TensorDataset

from vae_tutorial import data, training
from vae_tutorial.model import VAE
from vae_tutorial.support.devices import default_device
from vae_tutorial.training.history import History

CONTEXT = torch.multiprocessing.get_context("spawn")
Process, Pipe = CONTEXT.Process, CONTEXT.Pipe
Sizes = tuple[int, int, int, int]  # data, hidden, latent, hidden layers
SETTINGS: list[tuple[str, Sizes, int, int]] = [
    ("784-400-20, batch 128", (784, 400, 20, 1), 128, 20),
    ("784-400-20, batch 500", (784, 400, 20, 1), 500, 8),
    ("784-200-200-50, batch 20", (784, 200, 50, 2), 20, 60),
]


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def baseline(
    turns: Connection, name: str, sizes: Sizes, batch_size: int, turn: int, after: int
) -> None:
    """A process that runs one of the baselines, a turn whenever it is asked to."""
    device = default_device()
    if name == "matrix_products":
        run = baselines.matrix_products(sizes, batch_size, device)
    else:
        grey = data.load("mnist", pixels="grey", device="cpu").train.x
        images = (grey * 255).round().to(torch.uint8).view(-1, 28, 28)
        x = (grey > 0.5).float()
        if name == "bare":
            run = baselines.bare(x, sizes, batch_size, device)
        else:
            dataset = baselines.DecodedImages(images) if name == "images" else TensorDataset(x)
            run = baselines.textbook(dataset, sizes, batch_size, device)
    run(max(turn, after))  # the first turn warms up
    turns.send(None)
    while turns.recv():
        began = time.perf_counter()
        run(turn)
        synchronize(device)
        turns.send(time.perf_counter() - began)


def ours(
    turns: Connection, sizes: Sizes, batch_size: int, turn: int, after: int, more: dict[str, Any]
) -> None:
    """A process in which ``fit`` runs as users run it; a callback waits between two turns."""
    x = (data.load("mnist", pixels="grey").train.x > 0.5).float()
    width, hidden, latent_dim, layers = sizes
    model = VAE.mlp(width, latent_dim, [hidden] * layers, activation="relu")
    began: float | None = None

    def wait(model: VAE, history: History) -> bool:
        nonlocal began
        if history.step[-1] < after:
            return False
        synchronize(x.device)
        turns.send(None if began is None else time.perf_counter() - began)
        go_on = turns.recv()
        began = time.perf_counter()
        return not go_on

    settings = {"batch_size": batch_size, "steps": 10**9, "every": turn, "progress": False}
    training.fit(model, x, callbacks=[wait], **settings, **more)


def contenders(
    sizes: Sizes, batch_size: int, turn: int, after: int
) -> dict[str, tuple[Process, Connection]]:
    """A process for each contender, so that none disturbs the memory or the threads of another;
    those whose turn it is not are asleep."""
    size = (sizes, batch_size, turn, after)
    jobs: dict[str, tuple[Callable[..., None], tuple[Any, ...]]] = {
        "(a) textbook loop, images decoded": (baseline, ("images", *size)),
        "(b) textbook loop, TensorDataset": (baseline, ("tensors", *size)),
        "(c) matrix products only": (baseline, ("matrix_products", *size)),
        "(d) the barest loop": (baseline, ("bare", *size)),
        "fit": (ours, (*size, {})),
        "fit, compiled": (ours, (*size, {"compile": True})),
        "fit, bf16": (ours, (*size, {"precision": "bf16"})),
        "fit, bf16, compiled": (ours, (*size, {"precision": "bf16", "compile": True})),
    }
    found = {}
    for name, (target, arguments) in jobs.items():
        here, there = Pipe()
        process = Process(target=target, args=(there, *arguments), daemon=True)
        process.start()
        there.close()
        here.recv()  # it has warmed up
        found[name] = process, here
    return found


def measure(runs: dict[str, tuple[Process, Connection]], rounds: int) -> dict[str, float]:
    """Median seconds of a turn, by contender; one turn each, in every round."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, (_, turns) in runs.items():
            turns.send(True)
            times[name].append(turns.recv())
    for process, turns in runs.values():
        turns.send(False)
        process.join()
    return {name: statistics.median(values) for name, values in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--only", type=int, help="a batch size")
    parser.add_argument("--after", type=int, default=0, help="steps of training before the first")
    options = parser.parse_args()
    device = default_device()
    print(f"device {device}, {torch.get_num_threads()} threads, load {os.getloadavg()[0]:.1f}, "
          f"torch {torch.__version__.split('+')[0]}")  # fmt: skip
    for title, sizes, batch_size, turn in SETTINGS:
        if options.only not in (None, batch_size):
            continue
        runs = contenders(sizes, batch_size, turn, options.after)
        seconds = {name: t / turn for name, t in measure(runs, options.rounds).items()}
        textbook, _, bound = list(seconds.values())[:3]
        print(f"\n| {title} | images/s | ms a step | × (a) | of (c) |")
        print("| --- | --- | --- | --- | --- |")
        for name, each in seconds.items():
            print(
                f"| {name} | {batch_size / each:,.0f} | {1e3 * each:.2f} | {textbook / each:.2f} "
                f"| {bound / each:.2f} |"
            )


if __name__ == "__main__":
    main()
