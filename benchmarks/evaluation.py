"""How fast log p(x) is, beside its own matrix products.

``python benchmarks/evaluation.py [--quick]`` scores binarized MNIST test images by 5,000 samples
each, in turn with nothing but the matrix products of the same sizes, in one process, takes medians
over the rounds, and prints a table. The cost is linear in the images: the column for all 10,000
scales what was measured. The matrix products are those of the best of several chunk sizes.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor

from vae_tutorial import data, training
from vae_tutorial.evaluation import log_evidence
from vae_tutorial.model import VAE

SAMPLES = 5000
CHUNKS = (500, 1000, 2000)
TEST_IMAGES = 10_000
Run = Callable[[Tensor], None]


def matrix_products(model: VAE, chunk: int) -> Run:
    """The products of encoder and decoder in float32, into memory that is there before."""
    body, *heads = (p.detach() for n, p in model.encoder.named_parameters() if "weight" in n)
    inner, outer = (p.detach() for n, p in model.decoder.named_parameters() if "weight" in n)
    z = torch.randn(SAMPLES, model.latent_dim)
    h, logits = torch.empty(chunk, len(inner)), torch.empty(chunk, len(outer))

    def run(x: Tensor) -> None:
        for row in x.split(1):
            h_x = torch.mm(row, body.t())
            for head in heads:
                torch.mm(h_x, head.t())
            for part in z.split(chunk):
                torch.mm(part, inner.t(), out=h[: len(part)])
                torch.mm(h[: len(part)], outer.t(), out=logits[: len(part)])

    return run


def networks(model: VAE) -> Run:
    """The decoder's layers, with their biases and activations, and no likelihood."""
    z = torch.randn(SAMPLES, 1, model.latent_dim)

    def run(x: Tensor) -> None:
        for _ in x:
            for part in z.split(CHUNKS[-1]):
                model.decode(part)

    return run


def peak() -> float:
    """The most memory that this process has held, in MiB."""
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


@torch.no_grad()
def measure(runs: dict[str, Run], x: Tensor) -> dict[str, float]:
    """Median seconds of an image, by contender: one turn each in every round, one row of x [R, N,
    D] a round; the first round warms up."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for images in [x[0], *x]:
        for name, run in runs.items():
            began = time.perf_counter()
            run(images)
            times[name].append((time.perf_counter() - began) / len(images))
    return {name: statistics.median(values[1:]) for name, values in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--images", type=int, default=8, help="in a round")
    parser.add_argument("--quick", action="store_true", help="five rounds of one image")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.images = 5, 1
    mnist = data.load("mnist", device="cpu")
    model = VAE.mlp(mnist.dim, 20, hidden=(400,), activation="relu", device="cpu")
    training.fit(model, mnist.train.x, steps=400, batch_size=128, progress=False)
    x = mnist.test.x[: options.rounds * options.images].unflatten(0, (options.rounds, -1))
    print(
        f"{x.shape[0]} rounds of {x.shape[1]} images, {SAMPLES:,} samples each; "
        f"{torch.get_num_threads()} threads, load {os.getloadavg()[0]:.1f}, "
        f"torch {torch.__version__.split('+')[0]}"
    )

    def score(images: Tensor) -> None:
        log_evidence(model, images, num_samples=SAMPLES, rng=0)

    products = {f"matrix products, {c:,} at a time": matrix_products(model, c) for c in CHUNKS}
    runs: dict[str, Run] = {
        **products,
        "the decoder without a likelihood": networks(model),
        "log_evidence": score,
    }
    seconds = measure(runs, x)
    bound = min(seconds[name] for name in products)
    print("\n| | ms an image | s for 10,000 | × matrix products |\n| --- | --- | --- | --- |")
    for name, each in seconds.items():
        print(f"| {name} | {1e3 * each:.2f} | {TEST_IMAGES * each:.0f} | {each / bound:.2f} |")
    print(f"\npeak memory of the process, with the data and their training: {peak():.0f} MiB")


if __name__ == "__main__":
    main()
