"""File formats: what is read is what was written, packed or not, and what is broken is refused."""

import gzip
import io
import lzma

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vae_tutorial.data import formats

letters = st.text(formats.ALPHABET, min_size=4, max_size=4)
PACKINGS = [bytes, gzip.compress, lzma.compress]


@given(st.lists(letters, min_size=1, max_size=8), st.integers(1, 5), st.sampled_from(PACKINGS))
def test_fasta_reads_back(sequences, width, pack):
    text = "".join(
        f">name{i} description\n" + "".join(s[j : j + width] + "\n" for j in range(0, 4, width))
        for i, s in enumerate(sequences)
    )
    names, x, left_out = formats.alignment(formats.unpacked(pack(text.encode()), "f"), "f")
    assert left_out == 0 and x.dtype == np.int64
    assert names == [f"name{i}" for i in range(len(sequences))]
    assert ["".join(formats.ALPHABET[n] for n in row) for row in x] == sequences


def test_a2m_leaves_insertions_out_and_sequences_with_other_letters():
    raw = b">one\nacACdD.-Y\n>two\nACXDY\n>three\n-CDEYkk\n"
    for same in (raw, raw.replace(b"\n", b"\r\n"), b"\xef\xbb\xbf" + raw):
        names, x, left_out = formats.alignment(same, "f")
        assert names == ["one", "three"] and left_out == 1
        assert ["".join(formats.ALPHABET[n] for n in row) for row in x] == ["ACD-Y", "-CDEY"]


@given(letters, st.lists(st.text("acdefy.", max_size=4), min_size=5, max_size=5))
def test_insertions_anywhere_change_nothing(sequence, insertions):
    inserted = insertions[0] + "".join(
        c + i for c, i in zip(sequence, insertions[1:], strict=True)
    )
    x = formats.alignment(f">a\n{sequence}\n>b\n{inserted}\n".encode(), "f").x
    np.testing.assert_array_equal(x[0], x[1])


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"ACD\n", "f, line 1: a sequence must follow a line '>name'"),
        (b">a\nACD\n>b\nAC\n", "f, line 3: this sequence has 2 columns and the first one 3"),
        (b">a\n\n", "line 1: this sequence has no columns"),
        (b">a\nacd\n>b\nacd\n", "line 1: this sequence has no columns, .* in upper case"),
        (b">a\nACD\n>b\nac.\n", "line 3: this sequence has no columns"),
        (b">a\nACD*\n", "holds no sequence of the letters"),
        (b"", "holds no sequence"),
        (b">a\nXXX\n", "holds no sequence of the letters"),
        (b"\x89PNG\r\n", "must follow a line"),
    ],
)
def test_what_is_no_alignment_is_refused(raw, words):
    with pytest.raises(ValueError, match=words):
        formats.alignment(raw, "f")


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress])
def test_a_broken_off_archive_is_refused(pack):
    packed = pack(bytes(range(256)) * 100)
    for broken in (packed[:-5], packed[:30], packed[:40] + b"xxxx" + packed[44:]):
        with pytest.raises(ValueError, match="broken off or damaged"):
            formats.unpacked(broken, "f")


def test_idx_reads_back_and_refuses_what_is_not_whole():
    x = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    raw = b"\0\0\x08\x03" + np.array(x.shape, ">i4").tobytes() + x.tobytes()
    np.testing.assert_array_equal(formats.idx(raw, "f"), x)
    negative = b"\0\0\x08\x02" + np.array([-4, -6], ">i4").tobytes() + x.tobytes()
    for broken in (raw[:-1], raw + b"x", raw[:7], b"", b"\0\0\x0d\x01" + raw[4:], negative):
        with pytest.raises(ValueError, match="no whole IDX file"):
            formats.idx(broken, "f")


def test_bits_read_back_as_text_and_packed():
    x = np.random.default_rng(0).integers(0, 2, (5, 12), dtype=np.uint8)
    text = "\n".join(" ".join(map(str, row)) for row in x)
    for raw in (text, text + "\n"):
        np.testing.assert_array_equal(formats.amat(raw.encode(), "f", width=12), x)
    buffer = io.BytesIO()
    np.savez(buffer, part=np.packbits(x, axis=1))
    packed = formats.packed_bits(buffer.getvalue(), "f", width=12)
    np.testing.assert_array_equal(packed["part"], x)
    line = text.splitlines()[0]
    moved = text.replace("\n", " 1\n", 1)[:-2]  # one line is longer, one as much shorter
    for broken, number in [
        (text[:-4], 5), (moved, 1), (f"{line}\n{line[:-1]}2\n", 2), (f"{line}\n\n", 2),
        ("not bits", 1), ("", 1),
    ]:  # fmt: skip
        with pytest.raises(ValueError, match=f"f, line {number}: .* must be 12 zeros and ones"):
            formats.amat(broken.encode(), "f", width=12)
    for broken in (b"", buffer.getvalue()[:-30], b"PK\x03\x04"):
        with pytest.raises(ValueError, match="no .npz of packed bits"):
            formats.packed_bits(broken, "f")


def test_frey_reads_back_and_refuses_other_matrices():
    from scipy.io import savemat

    def written(**matrices):
        buffer = io.BytesIO()
        savemat(buffer, matrices)
        return buffer.getvalue()

    faces = np.arange(560 * 3).reshape(560, 3).astype(np.uint8)
    np.testing.assert_array_equal(formats.frey(written(ff=faces), "f"), faces.T)
    with pytest.raises(ValueError, match="must have 560 rows"):
        formats.frey(written(ff=faces.T), "f")
    for raw in (written(other=faces), b"no MATLAB file"):
        with pytest.raises(ValueError, match="has no matrix ff"):
            formats.frey(raw, "f")
