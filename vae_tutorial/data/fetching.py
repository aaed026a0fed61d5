"""Where files come from: your own folder first, then the cache, then their publishers.

``VAE_TUTORIAL_DATA`` names the folder, with one subfolder for each family of files (mnist,
binarized_mnist, frey_face, protein_msa); ``VAE_TUTORIAL_CACHE`` the cache, by default that of the
operating system. A file counts only if its content has the published SHA-256, however it is
packed: plain, gzipped or xz-compressed. Nothing from here is part of this repository.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vae_tutorial.data import formats
from vae_tutorial.support import files

TIMEOUT = 30  # seconds without a byte from a publisher


@dataclass(frozen=True)
class File:
    """One file: its place in the folder without the ending of its packing, the size in bytes and
    the SHA-256 of its unpacked content, and where it is published."""

    place: str
    size: int
    sha256: str
    urls: tuple[str, ...] = ()

    def holds(self, content: bytes) -> bool:
        """Whether this is the published content."""
        return hashlib.sha256(content).hexdigest() == self.sha256


def place_of(file: File) -> Path | None:
    """Where a file lies, in your folder or the cache; None if it would have to be downloaded."""
    return next((place for place in (*_own(file), _cached(file)) if place.is_file()), None)


def contents(wanted: Sequence[File]) -> list[bytes]:
    """The unpacked contents of files that belong together, each from the first place that has it.

    Raises:
        ValueError: a file in your folder is not the published one.
        FileNotFoundError: one is nowhere and could not be downloaded; the message names all that
            are missing.
        OSError: the cache cannot be written.
    """
    return [_here(file) or _download(file, wanted) for file in wanted]


def _here(file: File) -> bytes | None:
    place = place_of(file)
    if place is None:
        return None
    raw = place.read_bytes()
    content = raw if place == _cached(file) else formats.unpacked(raw, place)
    if file.holds(content):
        return content
    if place == _cached(file):  # damaged since it was written: fetch it again
        return None
    raise files.BrokenFileError(
        f"{place} is not the published file (its content's SHA-256 differs); replace or remove it"
    )


def _own(file: File) -> list[Path]:
    """Where a file may lie in your own folder."""
    folder = os.environ.get("VAE_TUTORIAL_DATA")
    return [Path(folder, file.place + packing) for packing in ("", ".gz", ".xz")] if folder else []


def _cached(file: File) -> Path:
    import pooch

    return Path(os.environ.get("VAE_TUTORIAL_CACHE") or pooch.os_cache("vae_tutorial"), file.place)


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


def _download(file: File, wanted: Sequence[File]) -> bytes:
    """The content from the first publisher that yields it whole, which goes into the cache.
    Nothing is kept of a transfer that breaks off, so that the next call begins anew."""
    import pooch

    try:
        files.writable(_cached(file))
    except OSError as error:
        raise OSError(
            f"{error}, by the environment variable VAE_TUTORIAL_CACHE; or keep the data in a "
            f"folder of your own, by VAE_TUTORIAL_DATA"
        ) from error
    reasons = []
    for url in file.urls:
        host, received = url.split("/")[2], _Received(file)
        size = f"{file.size / 1e6:.1f} MB unpacked"
        pooch.get_logger().info(f"Fetching {Path(file.place).name} ({size}) from {host}")
        try:
            pooch.HTTPDownloader(timeout=TIMEOUT)(url, received, None)
            content = formats.unpacked(received.getvalue(), url)
            if not file.holds(content):
                raise ValueError("not the published file (SHA-256 differs)")
        except (OSError, ValueError) as error:
            reasons.append(f"{host}: {_reason(error)}")
        else:
            files.write(_cached(file), content)
            return content
    raise FileNotFoundError(_what_to_put_where(file, wanted, "; ".join(reasons) or "no address"))


def _what_to_put_where(file: File, wanted: Sequence[File], reason: str) -> str:
    """The sentence for who has no network: all files that the data set still lacks, at once."""
    subfolder, name = file.place.split("/")
    missing = [f for f in wanted if f == file or place_of(f) is None]
    now = os.environ.get("VAE_TUTORIAL_DATA")
    return (
        f"{name} is not here and could not be downloaded ({reason}): put "
        f"{' and '.join(Path(f.place).name for f in missing)} (plain, .gz or .xz) into a folder "
        f"named {subfolder}, and set the environment variable VAE_TUTORIAL_DATA to the folder "
        f"that holds {subfolder}" + (f"; it is {now} now" if now else "")
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
