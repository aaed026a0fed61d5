"""Where data come from: your own folder first, then the cache, then their publishers.

``VAE_TUTORIAL_DATA`` names the folder, with one subfolder for each family of files (mnist,
binarized_mnist, frey_face, protein_msa); ``VAE_TUTORIAL_CACHE`` the cache, by default that of the
operating system. A file counts only if its content has the published SHA-256, however it is
packed: plain, gzipped or xz-compressed. Nothing from here is part of this repository.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from vae_tutorial import _files, readers

TIMEOUT = 30  # seconds without a byte from a publisher


@dataclass(frozen=True)
class File:
    """One file: its place in the folder without the ending of its packing, the SHA-256 of its
    unpacked content, and where it is published."""

    place: str
    sha256: str
    urls: tuple[str, ...] = ()


@dataclass(frozen=True)
class Source:
    """One data set: what it is, who made it, and under what terms."""

    title: str
    license: str
    citation: str
    files: tuple[File, ...] = ()


def _mnist(name: str, sha256: str) -> File:
    hosts = (
        "https://ossci-datasets.s3.amazonaws.com/mnist",
        "https://storage.googleapis.com/cvdf-datasets/mnist",
    )
    return File(f"mnist/{name}", sha256, tuple(f"{host}/{name}.gz" for host in hosts))


def _binarized(part: str, sha256: str) -> File:
    name = f"binarized_mnist_{part}.amat"
    host = "http://www.cs.toronto.edu/~larocheh/public/datasets/binarized_mnist"
    return File(f"binarized_mnist/{name}", sha256, (f"{host}/{name}",))


def _pfam(name: str, sha256: str) -> File:
    commit = "74771619338d14eb018cb321b65663bfa25ed2dc"
    host = f"https://raw.githubusercontent.com/pagnani/ArDCAData/{commit}/data"
    family = name.split("_")[0]
    return File(f"protein_msa/{name}", sha256, (f"{host}/{family}/{name}.gz",))


PACKED_BITS = File(
    "binarized_mnist/binarized_mnist_packed.npz",
    "50de2c8299a5a297789293ab2c30f6fc3cb8c359a15e5e88d5501aa18ebb8fa5",
)
_BLAT = "BLAT_ECOLX_hmmerbit_plmc_n5_m30_f50_t0.2_r24-286_id100_b105.a2m"
_BLAT_HOST = (
    "https://raw.githubusercontent.com/charlesxu90/DeepSequence-torch/"
    "640db39769a93ef3d5bc11d6ad05aa7f5d761972/datasets"
)
_ARDCA = "Trinquier, Uguzzoni, Pagnani, Zamponi & Weigt (2021), Nat. Commun. 12:5800"
SOURCES = {
    "digits": Source(
        "1,797 handwritten digits, 8×8, which come with scikit-learn", "CC BY 4.0",
        "Alpaydin & Kaynak (1998), UCI machine learning repository",
    ),
    "mnist": Source(
        "70,000 handwritten digits, 28×28", "CC BY-SA 3.0", "LeCun, Cortes & Burges (1998)",
        (
            _mnist("train-images-idx3-ubyte",
                   "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"),
            _mnist("train-labels-idx1-ubyte",
                   "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"),
            _mnist("t10k-images-idx3-ubyte",
                   "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"),
            _mnist("t10k-labels-idx1-ubyte",
                   "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"),
        ),
    ),
    "binarized_mnist": Source(
        "MNIST, binarized once for all", "that of MNIST",
        "Salakhutdinov & Murray (2008); files of Larochelle & Murray (2011)",
        (
            _binarized("train",
                       "ad693b29f94c14277b095f5238ddefbbdaaae0939789dd2f4f0205278cee3e4d"),
            _binarized("valid",
                       "1de3d397c40fe8eeb33dafd4099a1f665ec01e96d9be234aaeeac8a34930e2e2"),
            _binarized("test",
                       "e6687bfea3f820c174f33b7865140b2a2dd2930ef786f35d45795fc193b5ab2c"),
        ),
    ),
    "frey_faces": Source(
        "1,965 video frames of one face, 28×20", "none stated: for research, do not redistribute",
        "Roweis, Saul & Hinton (2002); images by Brendan Frey",
        (
            File("frey_face/frey_rawface.mat",
                 "265a83a23adb081755cd3de375509828e690324d1d60f076b8ecebc840d59c64",
                 ("https://cs.nyu.edu/~roweis/data/frey_rawface.mat",)),
        ),
    ),
    "blat_ecolx": Source(
        "the family of β-lactamase TEM-1, an alignment of 253 columns",
        "MIT; sequences from UniProt (CC BY 4.0)",
        "Riesselman, Ingraham & Marks (2018), Nat. Methods 15:816",
        (
            File(f"protein_msa/{_BLAT}",
                 "68e0c67d86159e6e6363aa3131d6275634d9c7c80decba32cbf055a6a0218320",
                 (f"{_BLAT_HOST}/{_BLAT}",)),
        ),
    ),
    "pf00014": Source(
        "the Kunitz domain, an alignment of 53 columns", "MIT; Pfam is CC0", _ARDCA,
        (_pfam("PF00014_mgap6.fasta",
               "f5abfe244d53606591e01d088b2834164fc7bfd4a86f62fe6d02c20d860bd5e0"),),
    ),
    "pf00595": Source(
        "the PDZ domain, an alignment of 82 columns", "MIT; Pfam is CC0", _ARDCA,
        (_pfam("PF00595_mgap6.fasta",
               "c33b19c354ed1889d11a6a45b030a140ade19fd168096675ac418861f1af1b85"),),
    ),
}  # fmt: skip


def content(file: File) -> bytes:
    """The unpacked content of a file, from the first place that has it.

    Raises:
        ValueError: a file in your folder is not the published one.
        FileNotFoundError: it is nowhere, and could not be downloaded.
        OSError: the cache cannot be written.
    """
    mine = local(file)
    if mine is not None:
        return mine
    cached = _cache() / file.place
    if cached.is_file():
        raw = cached.read_bytes()
        if hashlib.sha256(raw).hexdigest() == file.sha256:
            return raw
        cached.unlink()  # damaged since it was written
    raw = _download(file)
    _files.write(cached, raw)
    return raw


def local(file: File) -> bytes | None:
    """The unpacked content from the folder ``VAE_TUTORIAL_DATA``; None if it is not there.

    Raises:
        ValueError: it is there, and is not the published one.
    """
    folder = os.environ.get("VAE_TUTORIAL_DATA")
    for packing in ("", ".gz", ".xz"):
        path = Path(folder or "") / f"{file.place}{packing}"
        if folder and path.is_file():
            raw = readers.unpacked(path.read_bytes(), path)
            if hashlib.sha256(raw).hexdigest() != file.sha256:
                raise ValueError(
                    f"{path} is not the published file (its content's SHA-256 differs); replace "
                    f"or remove it"
                )
            return raw
    return None


def _download(file: File) -> bytes:
    """The content from the first publisher that yields it whole. Nothing is kept of a transfer
    that breaks off, so that the next call begins anew."""
    import tempfile

    import pooch

    _files.writable(_cache() / file.place)
    reasons = []
    for url in file.urls:
        with tempfile.TemporaryDirectory() as folder:
            fetched = Path(folder) / "file"
            try:
                pooch.HTTPDownloader(timeout=TIMEOUT)(url, str(fetched), None)
                raw = readers.unpacked(fetched.read_bytes(), url)
            except (OSError, ValueError) as error:
                reasons.append(f"{_host(url)}: {_reason(error)}")
                continue
        if hashlib.sha256(raw).hexdigest() == file.sha256:
            return raw
        reasons.append(f"{_host(url)}: not the published file (SHA-256 differs)")
    subfolder, name = file.place.split("/")
    raise FileNotFoundError(
        f"{name} is not here and could not be downloaded ({'; '.join(reasons) or 'no address'}): "
        f"put it (plain, .gz or .xz) into a folder named {subfolder}, and set the environment "
        f"variable VAE_TUTORIAL_DATA to the folder that holds {subfolder}"
    )


def _host(url: str) -> str:
    return url.split("/")[2]


def _reason(error: Exception) -> str:
    name = type(error).__name__
    if name in ("ConnectionError", "ConnectTimeout", "ReadTimeout"):
        return "no connection"
    return " ".join(str(error).split())[:80]


def _cache() -> Path:
    import pooch

    return Path(os.environ.get("VAE_TUTORIAL_CACHE") or pooch.os_cache("vae_tutorial"))
