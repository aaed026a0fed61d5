"""The shipped weights are what their provenance says."""

import pytest
import torch

from vae_tutorial import data, objectives
from vae_tutorial.book import pretrained


@pytest.mark.parametrize("name", pretrained.names())
def test_provenance_is_complete(name):
    record = pretrained.provenance(name)
    assert {"model", "data", "data_sha256", "command", "seed", "epochs", "score"} <= set(record)
    model = pretrained.load(name)
    widths = "-".join(
        str(n)
        for n in [
            model.settings["data_dim"],
            *model.settings["hidden"],
            model.latent_dim,
            *model.settings["hidden"][::-1],
            model.settings["data_dim"],
        ]
    )
    assert widths in record["model"]


def test_there_is_one_and_unknown_names_are_refused():
    assert "mnist_2d" in pretrained.names()
    with pytest.raises(ValueError, match="name must be one of 'mnist_2d', not 'mnist'"):
        pretrained.load("mnist")
    with pytest.raises(ValueError, match="name must be one of"):
        pretrained.provenance("mnist")


@torch.no_grad()
@pytest.mark.slow
def test_the_score_is_what_the_model_reaches_on_mnist(data_folder):
    """All test images with 10 samples each, against the recorded mean with 100."""
    model = pretrained.load("mnist_2d")
    test = data.load("mnist", pixels="static", seed=0).test.x
    terms = objectives.evaluate_elbo(model, test, num_samples=10, rng=1, rows=500)
    value = terms.value.mean().item()
    recorded = pretrained.provenance("mnist_2d")["score"]["nats_per_image"]
    assert value == pytest.approx(recorded, abs=0.3)
