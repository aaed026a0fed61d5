"""Data sets by name: ``digits = load("digits")``.

A data set has three splits, each a float32 tensor x of shape [N, D] with values in [0, 1] on one
device, plus labels where there are any. Pixels are grey, or made binary in one of two ways that a
page must name: drawn once from a Bernoulli distribution whose mean is the grey value (static
binarization, as in the literature), or black where the grey value is above one half.
"""

from __future__ import annotations

import gzip
import hashlib
import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vae_tutorial import _door
from vae_tutorial.runtime import RandomSource, as_generator, default_device

PIXELS = ("binary", "threshold", "grey")
MNIST_SHA256 = {
    "train-images-idx3-ubyte": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    "train-labels-idx1-ubyte": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    "t10k-images-idx3-ubyte": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    "t10k-labels-idx1-ubyte": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
}


@dataclass(frozen=True)
class Split:
    """Examples x, float32 [N, D] in [0, 1], and their labels, int64 [N], where there are any."""

    x: Tensor
    labels: Tensor | None = None

    def __len__(self) -> int:
        return len(self.x)


@dataclass(frozen=True)
class Dataset:
    """Three splits of one data set; ``image_shape`` is the height and width of an example."""

    name: str
    pixels: str
    image_shape: tuple[int, int]
    train: Split
    valid: Split
    test: Split

    @property
    def dim(self) -> int:
        """D, the number of values in one example."""
        return self.train.x.shape[1]

    def to(self, device: torch.device | str) -> Dataset:
        """The same data set with its examples on the given device."""

        def moved(split: Split) -> Split:
            return replace(split, x=split.x.to(device))

        return replace(
            self, train=moved(self.train), valid=moved(self.valid), test=moved(self.test)
        )

    def __repr__(self) -> str:
        sizes = " / ".join(f"{len(s):,}" for s in (self.train, self.valid, self.test))
        height, width = self.image_shape
        return (
            f"Dataset({self.name!r}, {self.pixels} pixels, {height}×{width}, "
            f"train / valid / test = {sizes})"
        )


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
    pixels: str = "binary",
    seed: int = 0,
    device: torch.device | str | None = None,
) -> Dataset:
    """Loads a data set by name.

    Args:
        name: ``"digits"``, 1,797 handwritten digits of 8×8 pixels that come with scikit-learn
            (Alpaydin & Kaynak 1998), split 1,297 / 200 / 300; or ``"mnist"``, 70,000 digits of
            28×28 pixels (LeCun et al. 1998), split 50,000 / 10,000 / 10,000, read from the folder
            that the environment variable ``VAE_TUTORIAL_DATA`` names.
        pixels: ``"binary"`` for static binarization by one draw, ``"threshold"`` for binarization
            at one half, ``"grey"`` for grey values in [0, 1].
        seed: the seed of the split of the digits and of the binarization.
        device: where the examples go; by default :func:`vae_tutorial.runtime.default_device`.

    Raises:
        ValueError: an unknown name, an unknown kind of pixels, or a seed that is none.
        FileNotFoundError: MNIST's files are not where ``VAE_TUTORIAL_DATA`` says.
    """
    _door.one_of("name", name, _LOADERS)
    _door.one_of("pixels", pixels, PIXELS)
    rng = as_generator(seed)
    device = default_device() if device is None else device
    grey = _LOADERS[name](rng)
    if pixels == "grey":
        return grey.to(device)

    def made_binary(split: Split) -> Split:
        return replace(
            split, x=binarize(split.x, rng) if pixels == "binary" else (split.x > 0.5).float()
        )

    return replace(
        grey,
        pixels=pixels,
        train=made_binary(grey.train),
        valid=made_binary(grey.valid),
        test=made_binary(grey.test),
    ).to(device)


def _digits(rng: torch.Generator) -> Dataset:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    x = torch.as_tensor(bunch.data / 16.0, dtype=torch.float32)
    labels = torch.as_tensor(bunch.target, dtype=torch.int64)
    order = torch.randperm(len(x), generator=rng)
    parts = [Split(x[i], labels[i]) for i in torch.split(order, [1297, 200, 300])]
    return Dataset("digits", "grey", (8, 8), *parts)


def _mnist(rng: torch.Generator) -> Dataset:
    def images(part: str) -> Tensor:
        raw = _idx(f"{part}-images-idx3-ubyte").reshape(-1, 28 * 28)
        return torch.as_tensor(raw.astype(np.float32) / 255.0)

    def labels(part: str) -> Tensor:
        return torch.as_tensor(_idx(f"{part}-labels-idx1-ubyte").astype(np.int64))

    x, y = images("train"), labels("train")
    train, valid = Split(x[:50_000], y[:50_000]), Split(x[50_000:], y[50_000:])
    return Dataset("mnist", "grey", (28, 28), train, valid, Split(images("t10k"), labels("t10k")))


def _idx(name: str) -> np.ndarray:
    """Reads one gzipped IDX file of MNIST and checks that it is the published one."""
    folder = os.environ.get("VAE_TUTORIAL_DATA")
    path = Path(folder or "VAE_TUTORIAL_DATA") / "mnist" / f"{name}.gz"
    if folder is None or not path.is_file():
        raise FileNotFoundError(
            f"{path} is not there; put MNIST's four .gz files into a folder named mnist and set "
            f"the environment variable VAE_TUTORIAL_DATA to the folder that holds it"
        )
    packed = path.read_bytes()
    if hashlib.sha256(packed).hexdigest() != MNIST_SHA256[name]:
        raise ValueError(f"{path} is not MNIST's published file (SHA-256 differs); replace it")
    raw = gzip.decompress(packed)
    shape = np.frombuffer(raw, ">i4", count=raw[3], offset=4)
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * raw[3]).reshape(shape)


_LOADERS = {"digits": _digits, "mnist": _mnist}
