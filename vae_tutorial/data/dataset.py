"""What a data set is: three splits of examples, and how a model sees them.

Images are rows of float32 in [0, 1]. Their pixels are ``"grey"``, or made binary in one of three
ways that a page must name: ``"static"``, each drawn once from a Bernoulli distribution whose mean
is its grey value; ``"dynamic"``, the same, but anew for every batch of training; ``"threshold"``,
1 where the grey value is above one half. Sequences are rows of int64, a letter's number a column.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from vae_tutorial.randomness import RandomSource, as_generator
from vae_tutorial.support import inputs

PIXELS = ("static", "dynamic", "threshold", "grey")
Transform = Callable[[Tensor, torch.Generator], Tensor]


@dataclass(frozen=True)
class Split:
    """Examples x, [N, D], and their labels, int64 [N], where there are any."""

    x: Tensor
    labels: Tensor | None = None

    def __len__(self) -> int:
        return len(self.x)

    def to(self, device: torch.device | str) -> Split:
        """The same examples and labels on the given device."""
        return Split(self.x.to(device), None if self.labels is None else self.labels.to(device))


@dataclass(frozen=True)
class Dataset:
    """Three splits of one data set.

    ``pixels`` is one of ``PIXELS``, and ``image_shape`` the height and width of an image; both are
    None for sequences, whose letters by their numbers are the ``alphabet``. ``left_out`` counts
    the sequences of the file that are in no split because they hold other letters. ``transform``
    makes of a batch and a generator what a model sees, where that is not the batch itself:
    ``binarize`` for dynamic pixels, one-hot rows for sequences.
    """

    name: str
    pixels: str | None
    image_shape: tuple[int, int] | None
    train: Split
    valid: Split
    test: Split
    alphabet: str | None = None
    left_out: int = 0
    transform: Transform | None = None

    @property
    def dim(self) -> int:
        """D, the number of values in one example as a model sees it: for sequences, columns times
        letters."""
        return self.train.x.shape[1] * len(self.alphabet or " ")

    def seen(self, split: str) -> Tensor:
        """The examples of ``"train"``, ``"valid"`` or ``"test"`` as a model sees them, [N, D], the
        same at every call: where there is a transform, its generator has the seed 0."""
        inputs.one_of("split", split, ("train", "valid", "test"))
        x: Tensor = getattr(self, split).x
        return x if self.transform is None else self.transform(x.clone(), as_generator(0))

    def one_hot(self, x: Tensor, rng: torch.Generator | None = None) -> Tensor:
        """Sequences [B, L] as one-hot rows, float32 [B, L · A].

        Raises:
            ValueError: these are images, or x holds numbers that are no letters.
        """
        if self.alphabet is None:
            raise ValueError(f"{self.name} holds images; one_hot is for sequences of letters")
        return one_hot(x, rng, letters=len(self.alphabet))

    def to(self, device: torch.device | str) -> Dataset:
        """The same data set with its examples and labels on the given device."""
        return self._changed(lambda split: split.to(device))

    def with_pixels(self, pixels: str, rng: RandomSource = None) -> Dataset:
        """Grey images with one kind of ``PIXELS``. For ``"dynamic"``, train stays grey; valid and
        test are those of ``"static"``."""
        inputs.one_of("pixels", pixels, PIXELS)
        if pixels == "grey":
            return self
        if pixels == "threshold":
            changed = self._changed(lambda split: replace(split, x=(split.x > 0.5).float()))
        else:
            changed = self._changed(lambda split: replace(split, x=binarize(split.x, rng)))
        if pixels == "dynamic":
            changed = replace(changed, train=self.train, transform=binarize)
        return replace(changed, pixels=pixels)

    def _changed(self, change: Callable[[Split], Split]) -> Dataset:
        train, valid, test = map(change, (self.train, self.valid, self.test))
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
        rng: seed or generator of the draw; see :func:`vae_tutorial.randomness.as_generator`.

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


def one_hot(x: Tensor, rng: torch.Generator | None = None, *, letters: int) -> Tensor:
    """Numbers of letters [B, L] as one-hot rows, float32 [B, L · A]; a transform, though no
    chance is in it.

    Raises:
        ValueError: x holds numbers that are no letters.
    """
    if x.is_floating_point() or bool(((x < 0) | (x >= letters)).any()):
        raise ValueError(f"x must hold numbers of letters, whole ones from 0 to {letters - 1}")
    return torch.nn.functional.one_hot(x, letters).flatten(1).float()
