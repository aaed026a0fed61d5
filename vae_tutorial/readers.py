"""File formats, and nothing else: bytes in, arrays out.

Images: IDX (MNIST), text of zeros and ones (.amat) and packed bits (binarized MNIST), MATLAB
(Frey faces). Alignments of proteins: FASTA and A2M. Files may be plain, gzipped or xz-compressed.
"""

from __future__ import annotations

import gzip
import io
import lzma
import zlib
from pathlib import Path

import numpy as np

ALPHABET = "-ACDEFGHIKLMNPQRSTVWY"  # the gap, and the 20 amino acids
_NUMBERS = {letter: number for number, letter in enumerate(ALPHABET)}


def unpacked(raw: bytes, name: str | Path) -> bytes:
    """The content of a file that is plain, gzipped or xz-compressed, which its first bytes say.

    Raises:
        ValueError: it is compressed and broken off.
    """
    try:
        if raw[:2] == b"\x1f\x8b":
            return gzip.decompress(raw)
        return lzma.decompress(raw) if raw[:6] == b"\xfd7zXZ\0" else raw
    except (EOFError, OSError, zlib.error, lzma.LZMAError) as error:
        raise ValueError(f"{name} is broken off or damaged ({error}); fetch it again") from None


def idx(raw: bytes, name: str | Path) -> np.ndarray:
    """An array of bytes in the IDX format of LeCun's MNIST files.

    Raises:
        ValueError: the header or the length is wrong.
    """
    shape: list[int] = []
    if raw[:3] == b"\0\0\x08" and len(raw) >= 4 + 4 * raw[3]:
        shape = np.frombuffer(raw[: 4 + 4 * raw[3]], ">i4", offset=4).tolist()
    start = 4 + 4 * len(shape)
    if not shape or len(shape) != raw[3] or len(raw) != start + int(np.prod(shape)):
        raise ValueError(f"{name} is no whole IDX file of bytes; fetch it again")
    return np.frombuffer(raw, np.uint8, offset=start).reshape(shape)


def amat(raw: bytes, name: str | Path, width: int = 784) -> np.ndarray:
    """Zeros and ones as text, a row on each line, uint8 [N, width] (Larochelle & Murray 2011).

    Raises:
        ValueError: a line has another length, or anything but zeros and ones.
    """
    digits = np.frombuffer(raw, np.uint8)
    digits = digits[digits > ord(" ")] - ord("0")
    lines = raw.count(b"\n") + (not raw.endswith(b"\n"))
    if lines * width != len(digits) or (digits > 1).any():
        raise ValueError(
            f"{name} must hold lines of {width} zeros and ones with spaces between; fetch it again"
        )
    return digits.reshape(-1, width)


def packed_bits(raw: bytes, name: str | Path, width: int = 784) -> dict[str, np.ndarray]:
    """Arrays of bits in an .npz file, eight to a byte along each row: uint8 [N, width] by key.

    Raises:
        ValueError: the file is no .npz of such arrays.
    """
    try:
        with np.load(io.BytesIO(raw)) as arrays:
            found = {key: np.unpackbits(arrays[key], axis=1)[:, :width] for key in arrays.files}
    except Exception as error:  # of NumPy, zipfile or zlib
        raise ValueError(f"{name} is no .npz of packed bits ({error}); fetch it again") from None
    return found


def frey(raw: bytes, name: str | Path) -> np.ndarray:
    """The Frey faces out of their MATLAB file, uint8 [1965, 28 · 20].

    Raises:
        ValueError: the file is no MATLAB file with a matrix ff of 560 rows.
    """
    from scipy.io import loadmat

    try:
        faces = loadmat(io.BytesIO(raw))["ff"]
    except Exception as error:  # SciPy has many
        raise ValueError(f"{name} has no matrix ff ({error}); fetch it again") from None
    if faces.ndim != 2 or faces.shape[0] != 560:
        raise ValueError(f"{name}: ff must have 560 rows, not {list(faces.shape)}; fetch it again")
    return np.ascontiguousarray(faces.T)


def alignment(raw: bytes, name: str | Path) -> tuple[list[str], np.ndarray]:
    """An alignment in FASTA or A2M: names, and letters as numbers of ``ALPHABET``, int64 [N, L].

    In A2M, lower case letters and points are insertions, which are no columns of the alignment and
    are left out. A sequence with any other letter than the 20 amino acids and the gap in a column
    (X, B, Z, …) is left out whole.

    Raises:
        ValueError: no sequence, text before the first name, or sequences of unequal length.
    """
    names: list[str] = []
    texts: list[str] = []
    lines: list[int] = []
    for number, line in enumerate(raw.decode("ascii", "replace").splitlines(), 1):
        line = line.strip()
        if line.startswith(">"):
            names.append(line[1:].split()[0] if line[1:].split() else f"line {number}")
            texts.append("")
            lines.append(number)
        elif line and not texts:
            raise ValueError(
                f"{name}, line {number}: a sequence must follow a line '>name'; "
                f"is this a FASTA or A2M file?"
            )
        elif line:
            texts[-1] += line
    columns = ["".join(c for c in text if not (c.islower() or c == ".")) for text in texts]
    for number, sequence in zip(lines, columns, strict=True):
        if len(sequence) != len(columns[0]) or not sequence:
            raise ValueError(
                f"{name}, line {number}: this sequence has {len(sequence)} columns and the first "
                f"one {len(columns[0])}; align the sequences first"
            )
    good = [i for i, sequence in enumerate(columns) if set(sequence) <= _NUMBERS.keys()]
    if not good:
        raise ValueError(
            f"{name} holds no sequence of the letters {ALPHABET}; is this a FASTA or A2M file?"
        )
    numbers = np.array([[_NUMBERS[c] for c in columns[i]] for i in good], dtype=np.int64)
    return [names[i] for i in good], numbers
