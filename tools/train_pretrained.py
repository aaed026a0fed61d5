"""Trains the models that ship with the package: ``VAE_TUTORIAL_DATA=… make pretrained``.

Each becomes a safetensors file of half-precision weights and a JSON file of provenance. The score
is measured after the rounding, on the model that a reader loads.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch

from vae_tutorial import data, objectives, training
from vae_tutorial.book import pretrained
from vae_tutorial.data import CATALOG
from vae_tutorial.model import VAE
from vae_tutorial.training import saving

FOLDER = Path(pretrained.__file__).parent
SETTINGS = {"epochs": 200, "batch_size": 500, "learning_rate": 2e-3, "seed": 0}
SCORE_SAMPLES = 100


def main() -> None:
    mnist = data.load("mnist", pixels="dynamic")
    model = VAE.mlp(mnist.dim, latent_dim=2, hidden=(300,), seed=0)
    training.fit(model, mnist, **SETTINGS)  # type: ignore[arg-type]
    path = FOLDER / "mnist_2d.safetensors"
    saving.save_model(model.half(), path)
    shipped = pretrained.load("mnist_2d")
    test = data.load("mnist", pixels="static", seed=0).test.x
    terms = objectives.evaluate_elbo(shipped, test, num_samples=SCORE_SAMPLES, rng=0, rows=500)
    record = {
        "model": "VAE.mlp(784, latent_dim=2, hidden=(300,)): 784-300-2-300-784, Bernoulli",
        "data": "MNIST (LeCun et al. 1998), the first 50,000 training images, "
        "dynamically binarized",
        "data_url": "http://yann.lecun.com/exdb/mnist",
        "data_sha256": CATALOG["mnist"].files[0].sha256,
        "command": "make pretrained",
        "optimizer": "Adam",
        **SETTINGS,
        "weights": "float16",
        "score": {
            "what": f"mean ELBO of the 10,000 test images, binarized once with seed 0, "
            f"{SCORE_SAMPLES} samples of z each",
            "nats_per_image": round(terms.value.double().mean().item(), 2),
        },
        "hardware": f"{shipped.device.type}, torch {torch.__version__.split('+')[0]}",
        "license": "MIT",
    }
    path.with_suffix(".json").write_text(json.dumps(record, indent=2) + "\n")
    print(json.dumps(record["score"], indent=2))


if __name__ == "__main__":
    main()
