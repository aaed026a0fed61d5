"""The data sets: one record each, and how its files become splits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vae_tutorial.data import fetching, formats
from vae_tutorial.data.dataset import PIXELS, Dataset, Split, one_hot
from vae_tutorial.data.fetching import File
from vae_tutorial.support.files import BrokenFileError


@dataclass(frozen=True)
class Record:
    """One data set: what it is, who made it, under what terms, what makes a data set of its files,
    and the kinds of pixels that it can have, the first by default; sequences have none."""

    name: str
    title: str
    license: str
    citation: str
    read: Callable[[Record, torch.Generator], Dataset]
    files: tuple[File, ...] = ()
    packed: File | None = None  # all of them in one, which has no publisher
    pixels: tuple[str, ...] = PIXELS

    def found(self) -> tuple[File, ...]:
        """The files to read: the packed one where it is in your folder."""
        return (self.packed,) if self.packed and fetching.place_of(self.packed) else self.files

    def places(self) -> list[Path]:
        """Where they lie, of those that are here."""
        return [place for file in self.found() if (place := fetching.place_of(file))]

    def contents(self) -> list[tuple[bytes, str]]:
        """What they hold, and their names."""
        files = self.found()
        return list(zip(fetching.contents(files), (file.place for file in files), strict=True))


def _grey(images: np.ndarray, largest: int) -> Tensor:
    return torch.as_tensor(images.astype(np.float32)).flatten(1) / largest


def _at_random(
    x: Tensor, labels: Tensor | None, sizes: list[int], rng: torch.Generator
) -> tuple[Split, Split, Split]:
    order = torch.randperm(len(x), generator=rng).split(sizes)
    train, valid, test = (Split(x[i], None if labels is None else labels[i]) for i in order)
    return train, valid, test


def _digits(record: Record, rng: torch.Generator) -> Dataset:
    from sklearn.datasets import load_digits

    found = load_digits()
    x, labels = _grey(found.data, 16), torch.as_tensor(found.target.astype(np.int64))
    return Dataset(record.name, "grey", (8, 8), *_at_random(x, labels, [1297, 200, 300], rng))


def _mnist(record: Record, rng: torch.Generator) -> Dataset:
    images, numbers, *held = (formats.idx(*content) for content in record.contents())
    x, test_x = _grey(images, 255), _grey(held[0], 255)
    y, test_y = (torch.as_tensor(n.astype(np.int64)) for n in (numbers, held[1]))
    train, valid = Split(x[:50_000], y[:50_000]), Split(x[50_000:], y[50_000:])
    return Dataset(record.name, "grey", (28, 28), train, valid, Split(test_x, test_y))


def _binarized_mnist(record: Record, rng: torch.Generator) -> Dataset:
    contents = record.contents()
    if record.found() == record.files:
        bits = [formats.amat(*content) for content in contents]
    else:
        arrays = formats.packed_bits(*contents[0])
        bits = [arrays[part] for part in ("train", "valid", "test")]
    train, valid, test = (Split(_grey(part, 1)) for part in bits)
    return Dataset(record.name, "static", (28, 28), train, valid, test)


def _frey_faces(record: Record, rng: torch.Generator) -> Dataset:
    (content,) = record.contents()
    x = _grey(formats.frey(*content), 255)
    return Dataset(record.name, "grey", (28, 20), *_at_random(x, None, [1565, 200, 200], rng))


def _published_family(record: Record, rng: torch.Generator) -> Dataset:
    (content,) = record.contents()
    return family(*content, record.name, rng)


def family(raw: bytes, place: str, name: str, rng: torch.Generator) -> Dataset:
    """Aligned sequences in FASTA or A2M, split at random into 8/10, 1/10 and 1/10."""
    _, x, left_out = formats.alignment(raw, place)
    held = len(x) // 10
    if held < 2:
        raise BrokenFileError(
            f"{place} holds {len(x)} sequences; at least 20 are needed: a tenth each, two or "
            f"more, are held out to validate and to test"
        )
    splits = _at_random(torch.as_tensor(x), None, [len(x) - 2 * held, held, held], rng)
    transform = partial(one_hot, letters=len(formats.ALPHABET))
    return Dataset(name, None, None, *splits, formats.ALPHABET, left_out, transform)


def _published(folder: str, urls: list[str], *files: tuple[str, int, str]) -> tuple[File, ...]:
    """Files side by side: name, size and SHA-256 of each; in the urls, {} is the name."""
    return tuple(
        File(f"{folder}/{name}", size, sha256, tuple(url.format(name) for url in urls))
        for name, size, sha256 in files
    )


_GITHUB = "https://raw.githubusercontent.com"
_ARDCA = "Trinquier, Uguzzoni, Pagnani, Zamponi & Weigt (2021), Nat. Commun. 12:5800"
_ARDCA_URL = f"{_GITHUB}/pagnani/ArDCAData/bfd54c6c4f9f8b2f14b6788ed1feca66b37c4ce8/data"
CATALOG = {record.name: record for record in (
    Record("digits", "1,797 handwritten digits, 8×8, which come with scikit-learn", "CC BY 4.0",
           "Alpaydin & Kaynak (1998), UCI machine learning repository", _digits),
    Record(
        "mnist", "70,000 handwritten digits, 28×28", "CC BY-SA 3.0",
        "LeCun, Cortes & Burges (1998)", _mnist,
        _published(
            "mnist", ["https://ossci-datasets.s3.amazonaws.com/mnist/{}.gz",
                      "https://storage.googleapis.com/cvdf-datasets/mnist/{}.gz"],
            ("train-images-idx3-ubyte", 47_040_016,
             "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"),
            ("train-labels-idx1-ubyte", 60_008,
             "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"),
            ("t10k-images-idx3-ubyte", 7_840_016,
             "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"),
            ("t10k-labels-idx1-ubyte", 10_008,
             "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"))),
    Record(
        "binarized_mnist", "MNIST, binarized once for all, in another order", "that of MNIST",
        "Salakhutdinov & Murray (2008); files of Larochelle & Murray (2011)", _binarized_mnist,
        _published(
            "binarized_mnist",
            ["http://www.cs.toronto.edu/~larocheh/public/datasets/binarized_mnist/{}",
             f"{_GITHUB}/riannevdberg/sylvester-flows/32dde9b7d696fee94f946a338182e542779eecfe/"
             "data/MNIST_static/{}"],
            ("binarized_mnist_train.amat", 78_400_000,
             "ad693b29f94c14277b095f5238ddefbbdaaae0939789dd2f4f0205278cee3e4d"),
            ("binarized_mnist_valid.amat", 15_680_000,
             "1de3d397c40fe8eeb33dafd4099a1f665ec01e96d9be234aaeeac8a34930e2e2"),
            ("binarized_mnist_test.amat", 15_680_000,
             "e6687bfea3f820c174f33b7865140b2a2dd2930ef786f35d45795fc193b5ab2c")),
        File("binarized_mnist/binarized_mnist_packed.npz", 2_295_919,
             "50de2c8299a5a297789293ab2c30f6fc3cb8c359a15e5e88d5501aa18ebb8fa5"),
        pixels=("static",)),
    Record(
        "frey_faces", "1,965 video frames of one face, 28×20",
        "none stated: for research, do not redistribute",
        "Roweis, Saul & Hinton (2002); images by Brendan Frey", _frey_faces,
        _published(
            "frey_face",
            ["https://cs.nyu.edu/~roweis/data/{}",
             f"{_GITHUB}/vsimkus/variational-gibbs-inference/"
             "3d105ec07a8e4ee2d652d42e54082cc94926206b/data/{}"],
            ("frey_rawface.mat", 1_100_584,
             "265a83a23adb081755cd3de375509828e690324d1d60f076b8ecebc840d59c64")),
        pixels=("grey", "static", "dynamic", "threshold")),
    Record(
        "blat_ecolx", "the family of β-lactamase TEM-1, an alignment of 253 columns",
        "MIT; sequences from UniProt (CC BY 4.0)",
        "Riesselman, Ingraham & Marks (2018), Nat. Methods 15:816", _published_family,
        _published(
            "protein_msa",
            [f"{_GITHUB}/charlesxu90/DeepSequence-torch/640db39769a93ef3d5bc11d6ad05aa7f5d761972/"
             "datasets/{}",
             f"{_GITHUB}/MikkelMathiasen23/Variational_proteins/"
             "e71bb7c900d9efe63521a622109349202cc7bfb7/data/{}"],
            ("BLAT_ECOLX_hmmerbit_plmc_n5_m30_f50_t0.2_r24-286_id100_b105.a2m", 2_576_325,
             "68e0c67d86159e6e6363aa3131d6275634d9c7c80decba32cbf055a6a0218320")),
        pixels=()),
    Record(
        "pf00014", "the Kunitz domain, an alignment of 53 columns", "MIT; Pfam is CC0", _ARDCA,
        _published_family,
        _published("protein_msa", [_ARDCA_URL + "/PF00014/{}.gz"],
                   ("PF00014_mgap6.fasta", 1_072_829,
                    "f5abfe244d53606591e01d088b2834164fc7bfd4a86f62fe6d02c20d860bd5e0")),
        pixels=()),
    Record(
        "pf00595", "the PDZ domain, an alignment of 82 columns", "MIT; Pfam is CC0", _ARDCA,
        _published_family,
        _published("protein_msa", [_ARDCA_URL + "/PF00595/{}.gz"],
                   ("PF00595_mgap6.fasta", 3_943_630,
                    "c33b19c354ed1889d11a6a45b030a140ade19fd168096675ac418861f1af1b85")),
        pixels=()),
)}  # fmt: skip
