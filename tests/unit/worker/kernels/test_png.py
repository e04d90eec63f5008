"""Small PNGs: Pillow's pixels for every filter, and None if a byte is wrong."""

import io
import itertools
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from worker.images.fast_decode import decode_plain
from worker.kernels.pixels import Pixels
from worker.kernels.png import MAX_BYTES, decode_small

GREY, RGB = 0, 2


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(rows: list[bytes], width: int, colours: int, *, interlace: int = 0, chunks: int = 1) -> bytes:
    """Return a PNG of filtered rows as they are, its data in so many chunks."""
    header = struct.pack(">IIBBBBB", width, len(rows), 8, colours, 0, 0, interlace)
    data = zlib.compress(b"".join(rows))
    cuts = [len(data) * i // chunks for i in range(chunks + 1)]
    parts = b"".join(chunk(b"IDAT", data[a:b]) for a, b in itertools.pairwise(cuts))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + parts + chunk(b"IEND", b"")


def by_pillow(data: bytes) -> Pixels:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


@given(
    st.integers(1, 40),
    st.lists(st.integers(0, 4), min_size=1, max_size=20),
    st.sampled_from([GREY, RGB]),
    st.integers(1, 3),
    st.randoms(use_true_random=False),
)
@settings(max_examples=200, deadline=None)
def test_every_filter_gives_pillows_pixels(
    width: int, filters: list[int], colours: int, chunks: int, random: object
) -> None:
    # given rows of noise, each with any of PNG's filters
    length = width * (1 if colours == GREY else 3)
    rows = [bytes([kind]) + random.randbytes(length) for kind in filters]  # type: ignore[attr-defined]
    data = png(rows, width, colours, chunks=chunks)

    assert np.array_equal(decode_small(data), by_pillow(data))  # type: ignore[arg-type]


@pytest.mark.parametrize("at", range(8, 120))
def test_a_file_with_a_wrong_bit_is_left_to_others(at: int) -> None:
    whole = png([b"\4" + bytes(range(30))] * 9, 10, RGB)
    assert decode_small(whole) is not None
    damaged = bytearray(whole)
    damaged[at % (len(whole) - 12)] ^= 1

    read = decode_plain(bytes(damaged), 10_000)

    assert read is None or np.array_equal(read, by_pillow(bytes(damaged)))


@pytest.mark.parametrize(
    "data",
    [
        png([b"\5" + bytes(30)] * 9, 10, RGB),
        png([b"\0" + bytes(30)] * 9, 10, RGB, interlace=1),
        png([b"\0" + bytes(30)] * 8 + [b"\0"], 10, RGB),
        png([b"\0" + bytes(60)] * 9, 10, RGB),
        png([bytes(1 + MAX_BYTES // 8)] * 9, MAX_BYTES // 8, GREY),
    ],
    ids=["unknown filter", "interlaced", "too little data", "too much data", "large"],
)
def test_what_is_not_as_it_should_be_is_left_to_others(data: bytes) -> None:
    assert decode_small(data) is None
