"""Data sets by name: ``digits = load("digits")``.

A data set has three splits, each a tensor x of shape [N, D] on one device, plus labels where there
are any. Images are float32 with values in [0, 1]. Pixels are grey, or made binary in one of two
ways that a page must name: drawn once from a Bernoulli distribution whose mean is the grey value
(static binarization, as in the literature), or black where the grey value is above one half.
Dynamic binarization is grey data with ``fit(…, transform=data.binarize)``. Protein sequences are
int64, one letter's number a column; ``Dataset.one_hot`` makes of them what a categorical decoder
explains.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vae_tutorial.data import formats, sources
from vae_tutorial.randomness import RandomSource, as_generator
from vae_tutorial.support import inputs
from vae_tutorial.support.devices import default_device

PIXELS = ("binary", "threshold", "grey")


@dataclass(frozen=True)
class Split:
    """Examples x, [N, D], and their labels, int64 [N], where there are any."""

    x: Tensor
    labels: Tensor | None = None

    def __len__(self) -> int:
        return len(self.x)


@dataclass(frozen=True)
class Dataset:
    """Three splits of one data set.

    ``image_shape`` is the height and width of an image, None for sequences; ``alphabet`` the
    letters of sequences by their numbers, None for images; ``left_out`` counts the sequences of
    the file that are in no split because they hold other letters.
    """

    name: str
    pixels: str
    image_shape: tuple[int, int] | None
    train: Split
    valid: Split
    test: Split
    alphabet: str | None = None
    left_out: int = 0

    @property
    def dim(self) -> int:
        """D, the number of values in one example as a model sees it: for sequences, columns times
        letters."""
        return self.train.x.shape[1] * len(self.alphabet or " ")

    def one_hot(self, x: Tensor, rng: torch.Generator | None = None) -> Tensor:
        """Sequences [B, L] as one-hot rows, float32 [B, L · A]: a ``transform`` for ``fit``.

        Raises:
            ValueError: these are images, or x holds numbers that are no letters.
        """
        if self.alphabet is None:
            raise ValueError(f"{self.name} holds images; one_hot is for sequences of letters")
        letters = len(self.alphabet)
        if x.is_floating_point() or bool(((x < 0) | (x >= letters)).any()):
            raise ValueError(f"x must hold numbers of letters, whole ones from 0 to {letters - 1}")
        return torch.nn.functional.one_hot(x, letters).flatten(1).float()

    def to(self, device: torch.device | str) -> Dataset:
        """The same data set with its examples on the given device."""
        return self._changed(lambda x: x.to(device))

    def _changed(self, change: Callable[[Tensor], Tensor]) -> Dataset:
        train, valid, test = (
            replace(split, x=change(split.x)) for split in (self.train, self.valid, self.test)
        )
        return replace(self, train=train, valid=valid, test=test)

    def __repr__(self) -> str:
        sizes = " / ".join(f"{len(s):,}" for s in (self.train, self.valid, self.test))
        kind = f"sequences over {self.alphabet!r}, {self.train.x.shape[1]} columns"
        if self.image_shape is not None:
            kind = f"{self.pixels} pixels, {self.image_shape[0]}×{self.image_shape[1]}"
        rest = f", {self.left_out:,} left out" if self.left_out else ""
        return f"Dataset({self.name!r}, {kind}, train / valid / test = {sizes}{rest})"


def binarize(x: Tensor, rng: RandomSource = None) -> Tensor:
    """Draws each pixel once from a Bernoulli distribution whose mean is its grey value.

    Drawn once before training this is static binarization; drawn anew for every batch it is
    dynamic binarization (Salakhutdinov & Murray 2008; Burda et al. 2016, section 5.1).

    Args:
        x: grey values in [0, 1], any shape, floating point.
        rng: seed or generator of the draw; see :func:`vae_tutorial.runtime.as_generator`.

    Raises:
        ValueError: x has values outside [0, 1] or NaN.
    """
    if not bool(((x >= 0) & (x <= 1)).all()):
        raise ValueError(
            f"x must hold grey values from 0 to 1, but its range is "
            f"{x.min().item():g} to {x.max().item():g}; divide by its largest value"
        )
    rng = as_generator(rng)
    u = torch.rand(x.shape, generator=rng, device=rng.device, dtype=x.dtype)
    return (u.to(x.device) < x).to(x.dtype)


def load(
    name: str,
    pixels: str | None = None,
    seed: int = 0,
    device: torch.device | str | None = None,
) -> Dataset:
    """Loads a data set by name, from your own folder, the cache, or its publisher.

    ``VAE_TUTORIAL_DATA`` names the folder; ``sources`` says how it is laid out. All but the digits
    are downloaded once and checked by SHA-256.

    ================== =================================================== ===================
    name               what                                                train / valid / test
    ================== =================================================== ===================
    digits             8×8 digits that come with scikit-learn              1,297 / 200 / 300
    mnist              28×28 digits, with labels (LeCun et al. 1998)       50,000 / 10,000 / same
    binarized_mnist    one fixed draw of it, in another order, unlabeled   50,000 / 10,000 / same
                       (Larochelle & Murray 2011): published test scores
    frey_faces         28×20 grey frames of a video of one face            1,565 / 200 / 200
    blat_ecolx         aligned proteins: β-lactamases, unlabeled           8/10, 1/10, 1/10
    pf00014, pf00595   Kunitz and PDZ domains, unlabeled                   the same
    ================== =================================================== ===================

    The splits of frames and of sequences are random: near twins of what is held out, the frame
    before or a close relative, are trained on, and held-out scores flatter. A split by clusters of
    relatives is left to you.

    Args:
        name: of the table.
        pixels: ``"binary"`` for static binarization by one draw, ``"threshold"`` for binarization
            at one half, ``"grey"`` for grey values in [0, 1]. By default binary, but grey for the
            faces; sequences have none.
        seed: the seed of a random split and of the binarization.
        device: where the examples go; by default :func:`vae_tutorial.runtime.default_device`.

    Raises:
        ValueError: an unknown name, an unknown kind of pixels, one that the data set does not
            have, a seed that is none, or a file that is not the published one.
        FileNotFoundError: a file is nowhere; the message says what to put where.
    """
    inputs.one_of("name", name, _LOADERS)
    rng = as_generator(seed)
    device = default_device() if device is None else device
    if pixels is not None:
        inputs.one_of("pixels", pixels, PIXELS)
        if not has_pixels(name) and (name, pixels) != ("binarized_mnist", "binary"):
            raise ValueError(f"{name} has no {pixels} pixels; leave pixels out")
    dataset = _LOADERS[name](rng)
    pixels = pixels or ("grey" if name == "frey_faces" else "binary")
    if dataset.pixels != "grey" or pixels == "grey":
        return dataset.to(device)

    def made_binary(x: Tensor) -> Tensor:
        return binarize(x, rng) if pixels == "binary" else (x > 0.5).float()

    return replace(dataset._changed(made_binary), pixels=pixels).to(device)


def load_alignment(
    path: str | Path, seed: int = 0, device: torch.device | str | None = None
) -> Dataset:
    """A protein family of your own: FASTA or A2M, plain, gzipped or xz-compressed, split at random
    into 8/10, 1/10 and 1/10. Sequences with letters other than the 20 amino acids and the gap are
    left out.

    Raises:
        OSError: there is no such file, or it cannot be read.
        ValueError: it is no alignment, or has fewer than 10 sequences.
    """
    try:
        raw = formats.unpacked(Path(path).read_bytes(), path)
    except OSError as error:
        raise type(error)(f"{path} cannot be read ({error.strerror}); name another") from None
    family = _family(Path(path).name.split(".")[0], raw, path, as_generator(seed))
    return family.to(default_device() if device is None else device)


def has_pixels(name: str) -> bool:
    """Whether the grey values of a data set are known, from which binary ones can be made."""
    return name in ("digits", "mnist", "frey_faces")


def is_alignment(name: str) -> bool:
    """Whether a name is no data set's but the path of a file."""
    return name not in _LOADERS and Path(name).is_file()


def _shuffled(
    x: Tensor, labels: Tensor | None, sizes: list[int], rng: torch.Generator
) -> tuple[Split, Split, Split]:
    order = torch.randperm(len(x), generator=rng)
    train, valid, test = (
        Split(x[i], None if labels is None else labels[i]) for i in torch.split(order, sizes)
    )
    return train, valid, test


def _digits(rng: torch.Generator) -> Dataset:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    x = torch.as_tensor(bunch.data / 16.0, dtype=torch.float32)
    labels = torch.as_tensor(bunch.target, dtype=torch.int64)
    return Dataset("digits", "grey", (8, 8), *_shuffled(x, labels, [1297, 200, 300], rng))


def _mnist(rng: torch.Generator) -> Dataset:
    raw = [formats.idx(sources.content(f), f.place) for f in sources.SOURCES["mnist"].files]
    x, y, test_x, test_y = (torch.as_tensor(a.astype(np.float32 if a.ndim == 3 else np.int64))
                            for a in raw)  # fmt: skip
    x, test_x = x.flatten(1) / 255, test_x.flatten(1) / 255
    train, valid = Split(x[:50_000], y[:50_000]), Split(x[50_000:], y[50_000:])
    return Dataset("mnist", "grey", (28, 28), train, valid, Split(test_x, test_y))


def _binarized_mnist(rng: torch.Generator) -> Dataset:
    packed = sources.local(sources.PACKED_BITS)
    if packed is not None:
        arrays = formats.packed_bits(packed, sources.PACKED_BITS.place)
        bits = [arrays[part] for part in ("train", "valid", "test")]
    else:
        files = sources.SOURCES["binarized_mnist"].files
        bits = [formats.amat(sources.content(file), file.place) for file in files]
    train, valid, test = (Split(torch.as_tensor(part.astype(np.float32))) for part in bits)
    return Dataset("binarized_mnist", "binary", (28, 28), train, valid, test)


def _frey_faces(rng: torch.Generator) -> Dataset:
    (file,) = sources.SOURCES["frey_faces"].files
    faces = formats.frey(sources.content(file), file.place)
    x = torch.as_tensor(faces.astype(np.float32)) / 255
    return Dataset("frey_faces", "grey", (28, 20), *_shuffled(x, None, [1565, 200, 200], rng))


def _family(name: str, raw: bytes, path: str | Path, rng: torch.Generator) -> Dataset:
    _, x, left_out = formats.alignment(raw, path)
    if len(x) < 20:
        raise ValueError(
            f"{path} holds {len(x)} sequences; at least 20 are needed: a tenth each, two or more, "
            f"are held out to validate and to test"
        )
    held = len(x) // 10
    sizes = [len(x) - 2 * held, held, held]
    splits = _shuffled(torch.as_tensor(x), None, sizes, rng)
    return Dataset(name, "none", None, *splits, formats.ALPHABET, left_out)


def _published_family(name: str) -> Callable[[torch.Generator], Dataset]:
    (file,) = sources.SOURCES[name].files
    return lambda rng: _family(name, sources.content(file), file.place, rng)


_LOADERS: dict[str, Callable[[torch.Generator], Dataset]] = {
    "digits": _digits,
    "mnist": _mnist,
    "binarized_mnist": _binarized_mnist,
    "frey_faces": _frey_faces,
    **{name: _published_family(name) for name in ("blat_ecolx", "pf00014", "pf00595")},
}
