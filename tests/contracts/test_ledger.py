"""The ledger of reproductions: complete, honest about shorter runs, and what the page shows."""

import importlib.util
import json
import math
import sys
from pathlib import Path

import pytest
import torch

from vae_tutorial.model import VAE

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def reproduce():
    spec = importlib.util.spec_from_file_location("reproduce", ROOT / "benchmarks/reproduce.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def ledger():
    return json.loads((ROOT / "benchmarks" / "ledger.json").read_text())


def test_every_result_says_how_it_was_made(ledger, reproduce):
    assert ledger.keys() <= reproduce.ENTRIES.keys()
    for name, entry in ledger.items():
        assert entry["source"] and entry["what"] and entry["setup"] and entry["differences"]
        assert {key: entry[key] for key in reproduce.facts(name)} == reproduce.facts(name)
        assert "lower is better" in entry["unit"] and entry["results"]
        for result in entry["results"]:
            assert math.isfinite(result["value"]) and 50 < result["value"] < 600
            assert result["minutes"] > 0 and result["hardware"] and result["torch"]
            assert f"--epochs {result['epochs']}" in result["command"]


def test_the_page_shows_the_ledger(reproduce):
    page = reproduce.PAGE.read_text()
    shown = page.partition("<!-- ledger -->")[2].partition("<!-- /ledger -->")[0].strip()
    assert shown == reproduce.table()
    for name in reproduce.ENTRIES:
        assert name in page.partition("<!-- /ledger -->")[2]  # what differs, in words


def test_the_first_reproduction_is_within_half_a_nat(ledger):
    values = [r["value"] for r in ledger["grey-784-400-20"]["results"] if r["epochs"] == 10]
    assert len(values) >= 3
    assert abs(sum(values) / len(values) - 105.575) < 0.5


def test_scoring_a_part_finely_agrees_with_scoring_all_of_it(reproduce):
    model = VAE.mlp(16, 2, hidden=(8,), seed=3, device="cpu")
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(3)  # so that the encoder is far from the posterior
    x = (torch.rand(400, 16, generator=torch.Generator().manual_seed(0)) < 0.4).float()
    whole = reproduce.nll(model, x, 3000)
    parts = reproduce.nll(model, x, 3000, subset=200)
    assert parts["standard_error"] > 0
    assert abs(parts["value"] - whole["value"]) < 5 * parts["standard_error"]


def test_the_textbook_loop_learns():
    """What speed is measured against must be a training loop, not a straw man."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        import baselines
    finally:
        sys.path.pop(0)
    state = torch.random.get_rng_state()
    images = torch.zeros(64, 28, 28, dtype=torch.uint8)
    images[:, 8:20, 8:20] = 255
    cpu = torch.device("cpu")
    decoded = baselines.DecodedImages(images)
    assert decoded[3].shape == (1, 28, 28) and decoded[3].max() == 1
    losses = []
    real = torch.nn.functional.binary_cross_entropy

    def spy(*arguments, **options):
        losses.append(real(*arguments, **options))
        return losses[-1]

    torch.nn.functional.binary_cross_entropy = spy
    try:
        baselines.textbook(decoded, (784, 20, 2, 1), 32, cpu)(60)
    finally:
        torch.nn.functional.binary_cross_entropy = real
        torch.random.set_rng_state(state)
    assert losses[-1] < 0.6 * losses[0]
    baselines.matrix_products((784, 20, 2, 1), 32, cpu)(2)
