"""Data sets: splits, binarization, determinism, and the door."""

import lzma
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from vae_tutorial import data, training
from vae_tutorial.model import VAE


@pytest.mark.parametrize("pixels", data.PIXELS)
def test_digits_have_the_promised_splits(pixels):
    digits = data.load("digits", pixels=pixels)
    assert [len(s) for s in (digits.train, digits.valid, digits.test)] == [1297, 200, 300]
    assert digits.dim == 64 and digits.image_shape == (8, 8)
    for split in (digits.train, digits.valid, digits.test):
        assert split.x.dtype == torch.float32 and split.labels.shape == (len(split),)
        assert split.x.min() == 0 and split.x.max() == 1
        binary = bool(((split.x == 0) | (split.x == 1)).all())
        drawn = pixels == "dynamic" and split is not digits.train
        assert binary == (pixels in ("static", "threshold") or drawn)
    assert digits.pixels == pixels


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
    data.binarize(torch.rand(3, generator=torch.Generator().manual_seed(0)), rng=None)
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"name": "digit"}, "name must be one of 'digits', 'mnist', .*, not 'digit'"),
        ({"name": "binarized_mnist", "pixels": "grey"}, "has no grey pixels .only static.; leave"),
        ({"name": "binarized_mnist", "pixels": "dynamic"}, "has no dynamic pixels .only static"),
        (
            {"name": "pf00014", "pixels": "static"},
            "has no static pixels .it holds sequences.; leave",
        ),
        ({"name": "digits", "pixels": "binary"}, "one of 'static', 'dynamic', .*not 'binary'"),
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


def test_binarized_mnist_is_the_published_draw(data_folder):
    binarized = data.load("binarized_mnist", device="cpu")
    splits = (binarized.train, binarized.valid, binarized.test)
    assert [len(s) for s in splits] == [50_000, 10_000, 10_000]
    for split, mean in zip(splits, (0.1306, 0.1311, 0.1325), strict=True):
        assert split.x.mean().item() == pytest.approx(mean, abs=5e-5)
        assert bool(((split.x == 0) | (split.x == 1)).all()) and split.labels is None
    again = data.load("binarized_mnist", seed=7, device="cpu")
    assert torch.equal(again.test.x, binarized.test.x)  # no seed moves a published split


def test_dynamic_binarization_of_mnist_draws_anew(data_folder):
    x = data.load("mnist", pixels="grey", device="cpu").test.x[:100]
    rng = torch.Generator().manual_seed(0)
    first, second = data.binarize(x, rng), data.binarize(x, rng)
    assert 0.02 < (first != second).float().mean() < 0.1
    assert bool((first[x == 0] == 0).all() and (second[x == 1] == 1).all())


def test_frey_faces_are_upright_faces(data_folder):
    faces = data.load("frey_faces", device="cpu")
    assert [len(s) for s in (faces.train, faces.valid, faces.test)] == [1565, 200, 200]
    assert faces.image_shape == (28, 20) and faces.pixels == "grey"
    face = faces.train.x.mean(0).view(28, 20)
    assert face.min() * 255 > 8 and face.max() * 255 < 238
    # mirrored left to right a face resembles itself more than upside down
    assert (face - face.flip(1)).abs().mean() < (face - face.flip(0)).abs().mean() / 2
    assert data.load("frey_faces", pixels="threshold").pixels == "threshold"


@pytest.mark.parametrize(
    ("name", "sequences", "columns"),
    [("blat_ecolx", 8355, 253), ("pf00014", 13_600, 53), ("pf00595", 36_690, 82)],
)
def test_protein_families_are_sequences_of_numbers(data_folder, name, sequences, columns):
    family = data.load(name, device="cpu")
    x = torch.cat([s.x for s in (family.train, family.valid, family.test)])
    assert x.shape == (sequences, columns) and x.dtype == torch.int64
    assert x.min() == 0 and x.max() == 20 and family.dim == 21 * columns
    assert f"{columns} columns" in repr(family) and family.image_shape is None
    assert family.left_out == (8403 - 8355 if name == "blat_ecolx" else 0)
    if name == "pf00014":
        assert len(x.unique(dim=0)) == 8871


def test_one_hot_is_what_a_categorical_decoder_explains(tmp_path):
    path = tmp_path / "mine.fasta"
    rows = ["ACDY", "-CDY", "ACDW", "A-DY", "ACEY"] * 4
    path.write_text("".join(f">s{i}\n{row}\n" for i, row in enumerate(rows)))
    family = data.load_alignment(path, device="cpu")
    assert [len(s) for s in (family.train, family.valid, family.test)] == [16, 2, 2]
    hot = family.one_hot(family.train.x)
    assert torch.equal(hot, family.seen("train"))
    assert torch.equal(hot, family.to("cpu").transform(family.train.x, torch.Generator()))
    assert hot.shape == (16, family.dim) and hot.sum(1).eq(4).all()
    assert torch.equal(hot.unflatten(1, (4, 21)).argmax(-1), family.train.x)
    vae = VAE.mlp(family.dim, hidden=(5,), likelihood="categorical", letters=21, device="cpu")
    history = training.fit(vae, family, epochs=30, progress=False)
    assert history.valid_elbo[-1] > history.valid_elbo[0]
    with pytest.raises(ValueError, match="numbers of letters, whole ones from 0 to 20"):
        family.one_hot(family.train.x + 5)
    with pytest.raises(ValueError, match="one_hot is for sequences"):
        data.load("digits").one_hot(torch.zeros(1, 64))


def test_a_family_of_ones_own_is_split_by_the_seed_and_refused_in_one_sentence(tmp_path):
    path = tmp_path / "mine.a2m.xz"
    rows = "".join(f">s{i}\n{'ACDEFGHIKL'[i % 10]}yy{'-ACDE'[i // 10]}\n" for i in range(50))
    path.write_bytes(lzma.compress(f"{rows}>odd\nXA\n".encode()))
    family, again, other = (data.load_alignment(path, seed=s, device="cpu") for s in (3, 3, 4))
    assert family.pixels is None
    assert family.name == "mine" and repr(family).endswith("= 40 / 5 / 5, 1 left out)")
    x = torch.cat([family.train.x, family.valid.x, family.test.x])
    assert len(x.unique(dim=0)) == 50  # each sequence is in one split
    assert torch.equal(family.test.x, again.test.x) and not torch.equal(x[-5:], other.test.x)
    path.write_text(">a\nAC\n")
    with pytest.raises(ValueError, match="holds 1 sequences; at least 20"):
        data.load_alignment(path)
    for missing, kind in ((tmp_path / "none", FileNotFoundError), (tmp_path, IsADirectoryError)):
        with pytest.raises(kind, match=f"^{missing} cannot be read .*; name another$"):
            data.load_alignment(missing)


def test_mnist_is_mnist(data_folder):
    mnist = data.load("mnist", pixels="grey", device="cpu")
    sizes = [len(s) for s in (mnist.train, mnist.valid, mnist.test)]
    assert sizes == [50_000, 10_000, 10_000] and mnist.image_shape == (28, 28)
    everything = torch.cat([mnist.train.x, mnist.valid.x])
    assert everything.double().mean().item() == pytest.approx(0.1307, abs=5e-5)
    assert everything.double().std().item() == pytest.approx(0.3081, abs=5e-5)
    assert mnist.train.labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert mnist.test.labels[:5].tolist() == [7, 2, 1, 0, 4]


def test_a_data_set_moves_with_all_of_its_splits_and_labels():
    moved = data.load("digits", device="cpu").to("meta")
    for split in (moved.train, moved.valid, moved.test):
        assert split.x.device.type == split.labels.device.type == "meta"
    loaded = data.load("digits", device="meta")
    assert loaded.test.x.device.type == loaded.test.labels.device.type == "meta"


def test_default_pixels_are_those_of_the_record(data_folder):
    for name, record in data.CATALOG.items():
        dataset = data.load(name, device="cpu")
        assert dataset.pixels == (record.pixels[0] if record.pixels else None)
    assert data.CATALOG["frey_faces"].pixels[0] == "grey"


def test_dynamic_pixels_stay_grey_to_train_on_and_are_drawn_once_to_score():
    dynamic, static, grey = (
        data.load("digits", pixels=p, seed=5) for p in ("dynamic", "static", "grey")
    )
    assert dynamic.transform is data.binarize and dynamic.pixels == "dynamic"
    assert static.transform is grey.transform is None
    assert torch.equal(dynamic.train.x, grey.train.x)
    for split in ("valid", "test"):
        once = getattr(static, split)
        assert torch.equal(getattr(dynamic, split).x, once.x)
        assert torch.equal(dynamic.seen(split), once.x)  # a bit stays what it is
        assert torch.equal(getattr(dynamic, split).labels, once.labels)


def test_what_a_model_sees_is_the_same_at_every_call():
    dynamic = data.load("digits", pixels="dynamic", device="cpu")
    seen = dynamic.seen("train")
    assert torch.equal(seen, dynamic.seen("train"))
    assert torch.equal(seen, data.binarize(dynamic.train.x, rng=0))
    grey = data.load("digits", pixels="grey", device="cpu")
    assert torch.equal(grey.seen("train"), dynamic.train.x)
    with pytest.raises(ValueError, match="split must be one of 'train', 'valid', 'test', not 'a'"):
        grey.seen("a")


def test_a_transform_in_place_changes_no_data():
    digits = data.load("digits", pixels="grey", device="cpu")
    before = digits.test.x.clone()
    ruthless = replace(digits, transform=lambda x, rng: x.fill_(0.5))
    assert bool((ruthless.seen("test") == 0.5).all())
    assert torch.equal(digits.test.x, before)


def test_a_data_set_describes_itself():
    text = repr(data.load("digits"))
    assert text == (
        "Dataset('digits', static pixels, 8×8, train / valid / test = 1,297 / 200 / 300)"
    )
