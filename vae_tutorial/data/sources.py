"""Where data come from: your own folder first, then the cache, then their publishers.

``VAE_TUTORIAL_DATA`` names the folder, with one subfolder for each family of files (mnist,
binarized_mnist, frey_face, protein_msa); ``VAE_TUTORIAL_CACHE`` the cache, by default that of the
operating system. A file counts only if its content has the published SHA-256, however it is
packed: plain, gzipped or xz-compressed. Nothing from here is part of this repository.
"""

from __future__ import annotations

import hashlib
import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vae_tutorial.data import formats
from vae_tutorial.support import files

TIMEOUT = 30  # seconds without a byte from a publisher


@dataclass(frozen=True)
class File:
    """One file: its place in the folder without the ending of its packing, the SHA-256 and the
    size in bytes of its unpacked content, and where it is published."""

    place: str
    sha256: str
    size: int
    urls: tuple[str, ...] = ()


@dataclass(frozen=True)
class Source:
    """One data set: what it is, who made it, and under what terms."""

    title: str
    license: str
    citation: str
    files: tuple[File, ...] = ()


def _github(repository: str, commit: str, path: str) -> str:
    return f"https://raw.githubusercontent.com/{repository}/{commit}/{path}"


def _mnist(name: str, sha256: str, size: int) -> File:
    hosts = (
        "https://ossci-datasets.s3.amazonaws.com/mnist",
        "https://storage.googleapis.com/cvdf-datasets/mnist",
    )
    return File(f"mnist/{name}", sha256, size, tuple(f"{host}/{name}.gz" for host in hosts))


def _binarized(part: str, sha256: str, size: int) -> File:
    name = f"binarized_mnist_{part}.amat"
    host = "http://www.cs.toronto.edu/~larocheh/public/datasets/binarized_mnist"
    commit = "32dde9b7d696fee94f946a338182e542779eecfe"
    copy = _github("riannevdberg/sylvester-flows", commit, f"data/MNIST_static/{name}")
    return File(f"binarized_mnist/{name}", sha256, size, (f"{host}/{name}", copy))


def _pfam(name: str, sha256: str, size: int) -> File:
    commit = "bfd54c6c4f9f8b2f14b6788ed1feca66b37c4ce8"
    url = _github("pagnani/ArDCAData", commit, f"data/{name.split('_')[0]}/{name}.gz")
    return File(f"protein_msa/{name}", sha256, size, (url,))


PACKED_BITS = File(
    "binarized_mnist/binarized_mnist_packed.npz",
    "50de2c8299a5a297789293ab2c30f6fc3cb8c359a15e5e88d5501aa18ebb8fa5",
    2_295_919,
)
_BLAT = "BLAT_ECOLX_hmmerbit_plmc_n5_m30_f50_t0.2_r24-286_id100_b105.a2m"
_BLAT_URLS = (
    _github("charlesxu90/DeepSequence-torch", "640db39769a93ef3d5bc11d6ad05aa7f5d761972",
            f"datasets/{_BLAT}"),
    _github("MikkelMathiasen23/Variational_proteins", "e71bb7c900d9efe63521a622109349202cc7bfb7",
            f"data/{_BLAT}"),
)  # fmt: skip
_FREY_URLS = (
    "https://cs.nyu.edu/~roweis/data/frey_rawface.mat",
    _github("vsimkus/variational-gibbs-inference", "3d105ec07a8e4ee2d652d42e54082cc94926206b",
            "data/frey_rawface.mat"),
)  # fmt: skip
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
                   "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db", 47_040_016),
            _mnist("train-labels-idx1-ubyte",
                   "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5", 60_008),
            _mnist("t10k-images-idx3-ubyte",
                   "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7", 7_840_016),
            _mnist("t10k-labels-idx1-ubyte",
                   "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2", 10_008),
        ),
    ),
    "binarized_mnist": Source(
        "MNIST, binarized once for all", "that of MNIST",
        "Salakhutdinov & Murray (2008); files of Larochelle & Murray (2011)",
        (
            _binarized("train",
                       "ad693b29f94c14277b095f5238ddefbbdaaae0939789dd2f4f0205278cee3e4d",
                       78_400_000),
            _binarized("valid",
                       "1de3d397c40fe8eeb33dafd4099a1f665ec01e96d9be234aaeeac8a34930e2e2",
                       15_680_000),
            _binarized("test",
                       "e6687bfea3f820c174f33b7865140b2a2dd2930ef786f35d45795fc193b5ab2c",
                       15_680_000),
        ),
    ),
    "frey_faces": Source(
        "1,965 video frames of one face, 28×20", "none stated: for research, do not redistribute",
        "Roweis, Saul & Hinton (2002); images by Brendan Frey",
        (
            File("frey_face/frey_rawface.mat",
                 "265a83a23adb081755cd3de375509828e690324d1d60f076b8ecebc840d59c64",
                 1_100_584, _FREY_URLS),
        ),
    ),
    "blat_ecolx": Source(
        "the family of β-lactamase TEM-1, an alignment of 253 columns",
        "MIT; sequences from UniProt (CC BY 4.0)",
        "Riesselman, Ingraham & Marks (2018), Nat. Methods 15:816",
        (
            File(f"protein_msa/{_BLAT}",
                 "68e0c67d86159e6e6363aa3131d6275634d9c7c80decba32cbf055a6a0218320",
                 2_576_325, _BLAT_URLS),
        ),
    ),
    "pf00014": Source(
        "the Kunitz domain, an alignment of 53 columns", "MIT; Pfam is CC0", _ARDCA,
        (_pfam("PF00014_mgap6.fasta",
               "f5abfe244d53606591e01d088b2834164fc7bfd4a86f62fe6d02c20d860bd5e0", 1_072_829),),
    ),
    "pf00595": Source(
        "the PDZ domain, an alignment of 82 columns", "MIT; Pfam is CC0", _ARDCA,
        (_pfam("PF00595_mgap6.fasta",
               "c33b19c354ed1889d11a6a45b030a140ade19fd168096675ac418861f1af1b85", 3_943_630),),
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
            return raw  # and otherwise it was damaged since it was written
    raw = _download(file)
    files.write(cached, raw)
    return raw


def local(file: File) -> bytes | None:
    """The unpacked content from the folder ``VAE_TUTORIAL_DATA``; None if it is not there.

    Raises:
        ValueError: it is there, and is not the published one.
    """
    path = _own(file)
    if path is None:
        return None
    raw = formats.unpacked(path.read_bytes(), path)
    if hashlib.sha256(raw).hexdigest() != file.sha256:
        raise ValueError(
            f"{path} is not the published file (its content's SHA-256 differs); replace or remove "
            f"it"
        )
    return raw


def _own(file: File) -> Path | None:
    folder = os.environ.get("VAE_TUTORIAL_DATA")
    places = [Path(folder or "") / f"{file.place}{packing}" for packing in ("", ".gz", ".xz")]
    return next((place for place in places if folder and place.is_file()), None)


class _Received(io.BytesIO):
    """What a publisher has sent so far. It is kept in memory: a process that is killed leaves
    nothing behind. More than the file can be, however packed, is refused."""

    def __init__(self, file: File) -> None:
        super().__init__()
        self.room = file.size + file.size // 100 + 1000

    def write(self, chunk: Any) -> int:
        self.room -= len(chunk)
        if self.room < 0:
            raise ValueError("not the published file (too long)")
        return super().write(chunk)


def _download(file: File) -> bytes:
    """The content from the first publisher that yields it whole. Nothing is kept of a transfer
    that breaks off, so that the next call begins anew."""
    import pooch

    try:
        files.writable(_cache() / file.place)
    except OSError as error:
        raise OSError(
            f"{error}, by the environment variable VAE_TUTORIAL_CACHE; or keep the data in a "
            f"folder of your own, by VAE_TUTORIAL_DATA"
        ) from error
    name, reasons = Path(file.place).name, []
    for url in file.urls:
        host, received = url.split("/")[2], _Received(file)
        size = f"{file.size / 1e6:.1f} MB unpacked"
        pooch.get_logger().info(f"Fetching {name} ({size}) from {host}")
        try:
            pooch.HTTPDownloader(timeout=TIMEOUT)(url, received, None)
            raw = formats.unpacked(received.getvalue(), url)
        except (OSError, ValueError) as error:
            reasons.append(f"{host}: {_reason(error)}")
            continue
        if hashlib.sha256(raw).hexdigest() == file.sha256:
            return raw
        reasons.append(f"{host}: not the published file (SHA-256 differs)")
    raise FileNotFoundError(_what_to_put_where(file, "; ".join(reasons) or "no address"))


def _what_to_put_where(file: File, reason: str) -> str:
    """The sentence for who has no network: all files that the data set still lacks, at once."""
    together = next((s.files for s in SOURCES.values() if file in s.files), (file,))
    missing = [f for f in together if _own(f) is None and not (_cache() / f.place).is_file()]
    subfolder, name = file.place.split("/")
    names = " and ".join(Path(f.place).name for f in missing) or name
    now = os.environ.get("VAE_TUTORIAL_DATA")
    return (
        f"{name} is not here and could not be downloaded ({reason}): put {names} (plain, .gz or "
        f".xz) into a folder named {subfolder}, and set the environment variable "
        f"VAE_TUTORIAL_DATA to the folder that holds {subfolder}"
        + (f"; it is {now} now" if now else "")
    )


def _reason(error: Exception) -> str:
    silence = f"no answer in {TIMEOUT} seconds"
    words = {
        "ConnectionError": "no connection",
        "ConnectTimeout": "no connection",
        "ReadTimeout": silence,
        "SSLError": "no trusted connection",
        "ChunkedEncodingError": "the transfer broke off",
    }
    plain = " ".join(str(error).split(" for url")[0].split())[:80]
    return silence if "Read timed out" in plain else words.get(type(error).__name__, plain)


def _cache() -> Path:
    import pooch

    return Path(os.environ.get("VAE_TUTORIAL_CACHE") or pooch.os_cache("vae_tutorial"))
