"""Image files of every flavour, written from their specifications: what no encoder here writes."""

import io
import struct
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

Samples = npt.NDArray[Any]

_KINDS = {1: "B", 3: "H", 4: "I", 5: "I", 16: "Q"}
"""struct's codes of TIFF's types; a rational is two numbers."""

Tags = Mapping[int, tuple[int, Sequence[int]]]
"""Tag -> type, values."""


def encoded(image: Image.Image, image_format: str = "PNG", **options: Any) -> bytes:
    """Return an image as Pillow writes it."""
    buffer = io.BytesIO()
    image.save(buffer, image_format, **options)
    return buffer.getvalue()


def tiff_file(
    *directories: tuple[Tags, Sequence[bytes]], order: str = "<", big: bool = False, last: int = 0
) -> bytes:
    """Return a TIFF of directories with their strips; `last` is where the last one says that another is."""
    mark, offset, entry = (b"II" if order == "<" else b"MM"), "Q" if big else "I", "HHQ" if big else "HHI"
    out = bytearray(
        struct.pack(f"{order}2sHHHQ", mark, 43, 8, 0, 0) if big else struct.pack(f"{order}2sHI", mark, 42, 0)
    )
    link, inline = (8, 8) if big else (4, 4)
    for tags, strips in directories:
        places = []
        for strip in strips:
            places.append(len(out))
            out += strip + bytes(len(strip) % 2)
        entries = dict(tags)
        tiled = 322 in entries
        entries[324 if tiled else 273] = (4, places)
        entries[325 if tiled else 279] = (4, [len(strip) for strip in strips])
        block = b""
        for tag, (kind, values) in sorted(entries.items()):
            data = struct.pack(f"{order}{len(values)}{_KINDS[kind]}", *values)
            if len(data) > inline:
                place = len(out)
                out += data + bytes(len(data) % 2)
                data = struct.pack(order + offset, place)
            count = len(values) // (2 if kind == 5 else 1)
            block += struct.pack(order + entry, tag, kind, count) + data.ljust(inline, b"\0")
        struct.pack_into(order + offset, out, link, len(out))
        out += struct.pack(order + ("Q" if big else "H"), len(entries)) + block
        link = len(out)
        out += struct.pack(order + offset, last)
    return bytes(out)


def packed(samples: Samples, bits: int, order: str) -> bytes:
    """Return rows of samples, (height, width, count), each row at a whole byte."""
    rows = samples.reshape(len(samples), -1)
    if samples.dtype.kind == "f" or bits in (16, 32):
        kind = samples.dtype.kind if samples.dtype.kind == "f" else "u"
        return rows.astype(f"{order}{kind}{bits // 8}").tobytes()
    if bits == 8:
        return rows.astype(np.uint8).tobytes()
    places = np.arange(bits - 1, -1, -1)
    digits = (rows[:, :, None] >> places & 1).astype(np.uint8).reshape(len(rows), -1)
    return np.packbits(digits, axis=1).tobytes()


def tiff_of_samples(
    samples: Samples,
    photometric: int,
    bits: int,
    *,
    order: str = "<",
    planar: bool = False,
    extra: int | None = None,
    compression: int = 1,
    predictor: int = 1,
    big: bool = False,
    strips: int = 1,
    tile: int = 0,
    more: Tags | None = None,
) -> bytes:
    """Return a TIFF of one page.

    Args:
        samples: (height, width, count), integers of `bits` bits or floats
        planar: each sample has its own plane
        extra: what the last sample is, ExtraSamples' value
        compression: 1 for none, 8 for deflate
        predictor: 2 stores differences
        strips: number of strips, which have the same height
        tile: side of tiles in pixels, in place of strips
        more: tags to add or replace
    """
    height, width, count = samples.shape
    planes = [samples[:, :, number : number + 1] for number in range(count)] if planar else [samples]
    parts = [part for plane in planes for part in (_tiles(plane, tile) if tile else np.split(plane, strips))]
    if predictor == 2:
        mask = (1 << bits) - 1
        parts = [np.diff(part.astype(np.int64), axis=1, prepend=0) & mask for part in parts]
    data = [packed(part, bits, order) for part in parts]
    if compression == 8:
        data = [zlib.compress(one) for one in data]
    tags: dict[int, tuple[int, Sequence[int]]] = {
        256: (3, [width]),
        257: (3, [height]),
        258: (3, [bits] * count),
        259: (3, [compression]),
        262: (3, [photometric]),
        277: (3, [count]),
        284: (3, [2 if planar else 1]),
    }
    tags |= {322: (3, [tile]), 323: (3, [tile])} if tile else {278: (3, [height // strips])}
    if extra is not None:
        tags[338] = (3, [extra])
    if predictor != 1:
        tags[317] = (3, [predictor])
    if samples.dtype.kind == "f":
        tags[339] = (3, [3] * count)
    return tiff_file(({**tags, **(more or {})}, data), order=order, big=big)


def _tiles(plane: Samples, side: int) -> list[Samples]:
    height, width, _ = plane.shape
    padded = np.pad(plane, ((0, -height % side), (0, -width % side), (0, 0)))
    return [
        padded[top : top + side, left : left + side]
        for top in range(0, height, side)
        for left in range(0, width, side)
    ]


def png_file(header: Sequence[int], rows: bytes, *chunks: tuple[bytes, bytes], after: bool = False) -> bytes:
    """Return a PNG.

    Args:
        header: width, height, depth, colour type
        rows: all rows, each with its filter byte
        chunks: further ones, with their names; `after` puts them behind the pixels
    """

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head, body = (
        chunk(b"IHDR", struct.pack(">IIBBBBB", *header, 0, 0, 0)),
        chunk(b"IDAT", zlib.compress(rows)),
    )
    others = b"".join(chunk(kind, data) for kind, data in chunks)
    middle = body + others if after else others + body
    return b"\x89PNG\r\n\x1a\n" + head + middle + chunk(b"IEND", b"")


def bmp_file(
    pixels: Samples,
    bits: int,
    *,
    compression: int = 0,
    masks: Sequence[int] = (),
    header: int = 40,
    palette: bytes = b"",
    colours: int = 0,
    top_down: bool = False,
) -> bytes:
    """Return a BMP.

    Args:
        pixels: (height, width) numbers of `bits` bits
        masks: of red, green, blue and alpha; in the header, or behind one of 40 bytes
        palette: 4 bytes for each colour
        colours: the number of them that the header names
    """
    height, width = pixels.shape
    rows = pixels if top_down else pixels[::-1]
    digits = (rows[:, :, None] >> np.arange(bits - 1, -1, -1) & 1).astype(np.uint8)
    packed_rows = np.packbits(digits.reshape(height, -1), axis=1)
    if bits > 8:
        # Little-endian.
        packed_rows = packed_rows.reshape(height, width, bits // 8)[:, :, ::-1].reshape(height, -1)
    data = np.pad(packed_rows, ((0, 0), (0, -packed_rows.shape[1] % 4))).tobytes()
    side = -height if top_down else height
    fields = struct.pack(
        "<IiiHHIIiiII", header, width, side, 1, bits, compression, len(data), 2835, 2835, colours, 0
    )
    head = fields + struct.pack(f"<{len(masks)}I", *masks)
    head = head.ljust(header, b"\0") + palette
    start = 14 + len(head)
    return b"BM" + struct.pack("<IHHI", start + len(data), 0, 0, start) + head + data
