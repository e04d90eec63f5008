"""The short way through decoding: the same pixels as Pillow's, or none."""

import io
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from contract.errors import ErrorCode, ItemError
from worker.images import decode
from worker.images.decode import decode_image
from worker.images.fast_decode import decode_plain
from worker.kernels.pixels import Pixels

LIMIT = 1_000_000

Encode = Callable[..., bytes]


def picture(height: int = 30, width: int = 90, seed: int = 0) -> Image.Image:
    """Half noise, half smooth, so that every part of a decoder has something to do."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    small = Image.fromarray(pixels).resize((max(1, width // 5), max(1, height // 5)))
    pixels[: height // 2] = np.asarray(small.resize((width, height)))[: height // 2]
    return Image.fromarray(pixels)


def by_pillow(data: bytes) -> Pixels:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def with_chunk(png: bytes, kind: bytes, content: bytes) -> bytes:
    """Return a PNG with one more chunk behind its header."""
    chunk = kind + content
    return png[:33] + len(content).to_bytes(4) + chunk + zlib.crc32(chunk).to_bytes(4) + png[33:]


class TestPlainFiles:
    @given(
        st.integers(1, 80),
        st.integers(1, 200),
        st.sampled_from([5, 50, 75, 95]),
        st.sampled_from([0, 1, 2]),
        st.sampled_from(["RGB", "L"]),
        st.booleans(),
    )
    @settings(max_examples=100, deadline=None)
    def test_jpegs_have_pillows_pixels(
        self, height: int, width: int, quality: int, subsampling: int, mode: str, restarts: bool
    ) -> None:
        buffer = io.BytesIO()
        options: dict[str, Any] = {"restart_marker_blocks": 3} if restarts else {}
        picture(height, width).convert(mode).save(
            buffer, "JPEG", quality=quality, subsampling=subsampling, **options
        )
        data = buffer.getvalue()

        assert np.array_equal(decode_plain(data, LIMIT), by_pillow(data))  # type: ignore[arg-type]

    @pytest.mark.parametrize("mode", ["RGB", "L"])
    @pytest.mark.parametrize("level", [0, 9])
    def test_pngs_have_pillows_pixels(self, encode: Encode, mode: str, level: int) -> None:
        data = encode(picture().convert(mode), compress_level=level)

        assert np.array_equal(decode_plain(data, LIMIT), by_pillow(data))  # type: ignore[arg-type]

    @pytest.mark.parametrize(
        ("kind", "content"),
        [
            (b"gAMA", (45_455).to_bytes(4)),
            (b"sRGB", b"\0"),
            (b"pHYs", b"\0\0\x0b\x13\0\0\x0b\x13\1"),
            (b"cHRM", b"".join(value.to_bytes(4) for value in (31270, 32900, 64000, 33000, 3, 6, 15, 6))),
        ],
    )
    def test_what_a_png_says_of_colours_changes_no_pixel(
        self, encode: Encode, kind: bytes, content: bytes
    ) -> None:
        data = with_chunk(encode(picture()), kind, content)

        assert np.array_equal(decode_plain(data, LIMIT), by_pillow(data))  # type: ignore[arg-type]

    def test_they_do_not_come_to_pillow(self, encode: Encode, monkeypatch: pytest.MonkeyPatch) -> None:
        def opened(_: bytes) -> None:
            raise AssertionError("opened by Pillow")

        monkeypatch.setattr(decode, "decode_rgb", opened)

        assert decode_image(encode(picture()), LIMIT).pixels.shape == (30, 90, 3)
        assert decode_image(encode(picture(), "JPEG"), LIMIT).pixels.shape == (30, 90, 3)


class TestOtherFiles:
    @pytest.mark.parametrize(
        ("mode", "file_format", "options"),
        [
            ("RGBA", "PNG", {}),
            ("LA", "PNG", {}),
            ("P", "PNG", {}),
            ("1", "PNG", {}),
            ("I;16", "PNG", {}),
            ("RGB", "PNG", {"transparency": (0, 0, 0)}),
            ("RGB", "PNG", {"exif": Image.Exif()}),
            ("RGB", "PNG", {"save_all": True, "append_images": [picture(seed=1)]}),
            ("CMYK", "JPEG", {}),
            ("RGB", "JPEG", {"progressive": True}),
            ("RGB", "JPEG", {"exif": b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0"}),
            ("RGB", "MPO", {"save_all": True, "append_images": [picture(seed=1)]}),
            ("RGB", "WEBP", {}),
            ("RGB", "BMP", {}),
            ("RGB", "TIFF", {}),
        ],
    )
    def test_are_left_to_pillow(
        self, encode: Encode, mode: str, file_format: str, options: dict[str, Any]
    ) -> None:
        if isinstance(options.get("exif"), Image.Exif):
            options["exif"][0x0112] = 6
        image = picture().convert("L").convert(mode) if mode == "I;16" else picture().convert(mode)

        assert decode_plain(encode(image, file_format, **options), LIMIT) is None

    @pytest.mark.parametrize("data", [b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", b"no image"])
    def test_what_is_hardly_a_file(self, data: bytes) -> None:
        assert decode_plain(data, LIMIT) is None

    @pytest.mark.parametrize("file_format", ["PNG", "JPEG"])
    def test_too_many_pixels_are_refused_by_the_general_way(self, encode: Encode, file_format: str) -> None:
        data = encode(picture(), file_format)

        assert decode_plain(data, 30 * 90 - 1) is None
        with pytest.raises(ItemError) as caught:
            decode_image(data, 30 * 90 - 1)
        assert caught.value.code == ErrorCode.TOO_MANY_PIXELS


class TestDamagedFiles:
    @pytest.mark.parametrize("file_format", ["PNG", "JPEG"])
    @given(data=st.data())
    @settings(max_examples=200, deadline=None)
    def test_are_never_read_where_pillow_refuses_them(self, file_format: str, data: st.DataObject) -> None:
        # given a file with one byte exchanged, or with a stretch of it missing
        buffer = io.BytesIO()
        picture().save(buffer, file_format)
        whole = buffer.getvalue()
        at = data.draw(st.integers(0, len(whole) - 1))
        missing = data.draw(st.integers(0, 40))
        byte = data.draw(st.sampled_from([0x00, 0x01, 0x7F, 0xD0, 0xD9, 0xFF]))
        damaged = whole[:at] + (b"" if missing else bytes([byte])) + whole[at + max(1, missing) :]

        read = decode_plain(damaged, LIMIT)

        assert read is None or np.array_equal(read, by_pillow(damaged))
