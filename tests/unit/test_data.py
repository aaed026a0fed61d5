"""Data sets: splits, binarization, determinism, and the door."""

import math

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from vae_tutorial import data


@pytest.mark.parametrize("pixels", data.PIXELS)
def test_digits_have_the_promised_splits(pixels):
    digits = data.load("digits", pixels=pixels)
    assert [len(s) for s in (digits.train, digits.valid, digits.test)] == [1297, 200, 300]
    assert digits.dim == 64 and digits.image_shape == (8, 8)
    for split in (digits.train, digits.valid, digits.test):
        assert split.x.dtype == torch.float32 and split.labels.shape == (len(split),)
        assert split.x.min() == 0 and split.x.max() == 1
    binary = bool(((digits.train.x == 0) | (digits.train.x == 1)).all())
    assert binary == (pixels != "grey")


def test_digits_are_scikit_learns_each_once():
    digits = data.load("digits", pixels="grey", seed=3, device="cpu")
    ours = torch.cat([s.x for s in (digits.train, digits.valid, digits.test)]).numpy() * 16
    theirs = load_digits().data
    assert (
        np.sort(ours.view("V256").ravel())
        == np.sort(theirs.astype(np.float32).view("V256").ravel())
    ).all()


def test_labels_stay_with_their_images():
    digits = data.load("digits", pixels="grey", device="cpu")
    raw = load_digits()
    known = {x.astype(np.float32).tobytes(): y for x, y in zip(raw.data, raw.target, strict=True)}
    for x, y in zip(digits.test.x, digits.test.labels, strict=True):
        assert known[(x * 16).numpy().tobytes()] == y


def test_the_seed_decides_the_split_and_the_draw():
    first, again, other = (data.load("digits", seed=s) for s in (0, 0, 1))
    assert torch.equal(first.train.x, again.train.x)
    assert not torch.equal(first.train.labels, other.train.labels)


def test_threshold_is_a_function_of_the_grey_value():
    grey, black = (data.load("digits", pixels=p) for p in ("grey", "threshold"))
    assert torch.equal(black.test.x, (grey.test.x > 0.5).float())


def test_binarize_draws_with_the_grey_value_as_probability():
    n = 200_000
    for p in (0.0, 0.2, 0.7, 1.0):
        drawn = data.binarize(torch.full((n,), p), rng=0)
        assert abs(drawn.mean() - p) <= 5 * math.sqrt(p * (1 - p) / n)
    x = torch.full((100,), 0.5)
    assert torch.equal(data.binarize(x, 1), data.binarize(x, 1))
    assert not torch.equal(data.binarize(x, 1), data.binarize(x, 2))


def test_nothing_changes_the_global_generator():
    state = torch.random.get_rng_state()
    data.load("digits")
    data.binarize(torch.rand(3, generator=torch.Generator()), rng=None)
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"name": "digit"}, "name must be one of 'digits', 'mnist', not 'digit'"),
        ({"name": "digits", "pixels": "gray"}, "pixels must be one of .*'grey', not 'gray'"),
        ({"name": "digits", "seed": -1}, "random source is a whole number from 0"),
        ({"name": "digits", "seed": 1.5}, "random source"),
    ],
)
def test_load_refuses_in_one_sentence(arguments, words):
    with pytest.raises(ValueError, match=words):
        data.load(**arguments)


@pytest.mark.parametrize("bad", [1.2, -0.1, math.nan])
def test_binarize_refuses_what_is_no_grey_value(bad):
    with pytest.raises(ValueError, match="grey values from 0 to 1"):
        data.binarize(torch.tensor([0.5, bad]))


def test_mnist_says_what_to_put_where(monkeypatch, tmp_path):
    monkeypatch.setenv("VAE_TUTORIAL_DATA", str(tmp_path))
    with pytest.raises(
        FileNotFoundError, match="MNIST's four .gz files into a folder named mnist"
    ):
        data.load("mnist")
    monkeypatch.delenv("VAE_TUTORIAL_DATA")
    with pytest.raises(FileNotFoundError, match="VAE_TUTORIAL_DATA"):
        data.load("mnist")


def test_mnist_refuses_a_file_that_is_not_the_published_one(monkeypatch, tmp_path):
    (tmp_path / "mnist").mkdir()
    (tmp_path / "mnist" / "train-images-idx3-ubyte.gz").write_bytes(b"not mnist")
    monkeypatch.setenv("VAE_TUTORIAL_DATA", str(tmp_path))
    with pytest.raises(ValueError, match="SHA-256 differs"):
        data.load("mnist")


def test_mnist_is_mnist(data_folder):
    mnist = data.load("mnist", pixels="grey", device="cpu")
    sizes = [len(s) for s in (mnist.train, mnist.valid, mnist.test)]
    assert sizes == [50_000, 10_000, 10_000] and mnist.image_shape == (28, 28)
    everything = torch.cat([mnist.train.x, mnist.valid.x])
    assert everything.double().mean().item() == pytest.approx(0.1307, abs=5e-5)
    assert everything.double().std().item() == pytest.approx(0.3081, abs=5e-5)
    assert mnist.train.labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert mnist.test.labels[:5].tolist() == [7, 2, 1, 0, 4]


def test_a_data_set_describes_itself():
    text = repr(data.load("digits"))
    assert text == (
        "Dataset('digits', binary pixels, 8×8, train / valid / test = 1,297 / 200 / 300)"
    )
