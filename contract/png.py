"""PNG files that Pillow refuses, or whose transparent colour it mistakes."""

import struct

from PIL import Image

SIGNATURE = b"\x89PNG\r\n\x1a\n"

_NEEDED = frozenset(
    {b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"eXIf", b"pHYs", b"acTL", b"fcTL", b"fdAT"}
)
"""Chunks that say what is seen, at which size and which way up."""

_DEPTH_AT = 24
"""Where a PNG's bits per sample are."""


def without_remarks(data: bytes) -> bytes:
    """Return a PNG without its profiles, texts and private chunks, up to where its structure is whole.

    Pillow refuses a file for a profile or a text of more than a megabyte, and for any wrong checksum.
    """
    kept, at = [data[: len(SIGNATURE)]], len(SIGNATURE)
    while at + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        after = at + 12 + length
        if kind in _NEEDED:
            kept.append(data[at:after])
        at = after
    return b"".join(kept)


def scale_key(image: Image.Image, data: bytes) -> None:
    """Give the transparent colour of an opened PNG the range of its pixels: Pillow scales these, not that."""
    key = image.info.get("transparency")
    depth = data[_DEPTH_AT]
    if isinstance(key, tuple) and depth == 16:
        image.info["transparency"] = tuple(level >> 8 for level in key)
    elif isinstance(key, int) and image.mode == "L" and depth in (2, 4):
        image.info["transparency"] = key * 255 // (2**depth - 1)
