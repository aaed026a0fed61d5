"""File formats, and nothing else: bytes in, arrays out.

Images: IDX (MNIST), text of zeros and ones (.amat) and packed bits (binarized MNIST), MATLAB
(Frey faces). Alignments of proteins: FASTA and A2M. Each function takes the content of a file and
its name, and raises BrokenFileError, in one sentence with that name, where it is not whole.
"""

from __future__ import annotations

import gzip
import io
import lzma
import math
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vae_tutorial.support.files import BrokenFileError

ALPHABET = "-ACDEFGHIKLMNPQRSTVWY"  # the gap, and the 20 amino acids
_LETTERS = ALPHABET.encode()
_NUMBERS = np.zeros(256, np.int64)
_NUMBERS[np.frombuffer(_LETTERS, np.uint8)] = np.arange(len(_LETTERS))
_INSERTIONS = b"abcdefghijklmnopqrstuvwxyz. \t"


def unpacked(raw: bytes, name: str | Path) -> bytes:
    """The content of a file that is plain, gzipped or xz-compressed, which its first bytes say."""
    try:
        if raw[:2] == b"\x1f\x8b":
            return gzip.decompress(raw)
        return lzma.decompress(raw) if raw[:6] == b"\xfd7zXZ\0" else raw
    except (EOFError, OSError, zlib.error, lzma.LZMAError) as error:
        raise BrokenFileError(
            f"{name} is broken off or damaged ({error}); fetch it again"
        ) from None


def idx(raw: bytes, name: str | Path) -> np.ndarray:
    """An array of bytes in the IDX format of LeCun's MNIST files."""
    shape: list[int] = []
    if raw[:3] == b"\0\0\x08" and len(raw) >= 4 + 4 * raw[3]:
        shape = np.frombuffer(raw[: 4 + 4 * raw[3]], ">u4", offset=4).tolist()
    start = 4 + 4 * len(shape)
    if not shape or len(raw) != start + math.prod(shape):
        raise BrokenFileError(f"{name} is no whole IDX file of bytes; fetch it again")
    return np.frombuffer(raw, np.uint8, offset=start).reshape(shape)


def amat(raw: bytes, name: str | Path, width: int = 784) -> np.ndarray:
    """Zeros and ones as text, a row on each line, uint8 [N, width] (Larochelle & Murray 2011)."""
    rows = [line.translate(None, b" \t") for line in raw.splitlines() or [b""]]
    for number, row in enumerate(rows, 1):
        if len(row) != width or row.translate(None, b"01"):
            raise BrokenFileError(
                f"{name}, line {number}: a line must be {width} zeros and ones with spaces "
                f"between; fetch the file again"
            )
    return (np.frombuffer(b"".join(rows), np.uint8) - ord("0")).reshape(-1, width)


def packed_bits(raw: bytes, name: str | Path, width: int = 784) -> dict[str, np.ndarray]:
    """Arrays of bits in an .npz file, eight to a byte along each row: uint8 [N, width] by key."""
    try:
        with np.load(io.BytesIO(raw)) as arrays:
            return {key: np.unpackbits(arrays[key], axis=1)[:, :width] for key in arrays.files}
    except Exception as error:  # of NumPy, zipfile or zlib
        raise BrokenFileError(
            f"{name} is no .npz of packed bits ({error}); fetch it again"
        ) from None


def frey(raw: bytes, name: str | Path) -> np.ndarray:
    """The Frey faces out of the matrix ff of their MATLAB file, uint8 [1965, 28 · 20]."""
    from scipy.io import loadmat

    try:
        faces = loadmat(io.BytesIO(raw))["ff"]
    except Exception as error:  # SciPy has many
        raise BrokenFileError(f"{name} has no matrix ff ({error}); fetch it again") from None
    if faces.ndim != 2 or faces.shape[0] != 560:
        raise BrokenFileError(
            f"{name}: ff must have 560 rows, not {list(faces.shape)}; fetch it again"
        )
    return np.ascontiguousarray(faces.T)


class Alignment(NamedTuple):
    """Names, letters as numbers of ``ALPHABET``, int64 [N, L], and how many sequences more the
    file has, which hold other letters and were left out."""

    names: list[str]
    x: np.ndarray
    left_out: int


def alignment(raw: bytes, name: str | Path) -> Alignment:
    """An alignment in FASTA or A2M.

    In A2M, lower case letters and points are insertions, which are no columns of the alignment and
    are left out. A sequence with any other letter than the 20 amino acids and the gap in a column
    (X, B, Z, …) is left out whole and counted, as Riesselman et al. (2018) do.
    """
    found: list[tuple[int, str, list[bytes]]] = []  # line of the name, name, lines of letters
    for number, line in enumerate(raw.removeprefix(b"\xef\xbb\xbf").splitlines(), 1):
        line = line.strip()
        if line.startswith(b">"):
            words = line[1:].decode("utf-8", "replace").split()
            found.append((number, words[0] if words else f"line {number}", []))
        elif line and not found:
            raise BrokenFileError(
                f"{name}, line {number}: a sequence must follow a line '>name'; "
                f"is this a FASTA or A2M file?"
            )
        elif line:
            found[-1][2].append(line.translate(None, _INSERTIONS))
    rows = [b"".join(lines) for _, _, lines in found]
    for (number, _, _), row in zip(found, rows, strict=True):
        if not row:
            raise BrokenFileError(
                f"{name}, line {number}: this sequence has no columns, which are letters in upper "
                f"case and gaps; give it some, or remove it"
            )
        if len(row) != len(rows[0]):
            raise BrokenFileError(
                f"{name}, line {number}: this sequence has {len(row)} columns and the first "
                f"one {len(rows[0])}; align the sequences first"
            )
    good = [i for i, row in enumerate(rows) if not row.translate(None, _LETTERS)]
    if not good:
        raise BrokenFileError(
            f"{name} holds no sequence of the letters {ALPHABET}; is this a FASTA or A2M file?"
        )
    letters = np.frombuffer(b"".join(rows[i] for i in good), np.uint8)
    x = _NUMBERS[letters].reshape(len(good), -1)
    return Alignment([found[i][1] for i in good], x, len(rows) - len(good))
