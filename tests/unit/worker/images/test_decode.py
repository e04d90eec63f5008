"""Decoding: every kind of image comes out as a viewer shows it, every bad file as an error to act on."""

import struct
import zlib
from collections.abc import Callable

import cv2
import numpy as np
import pytest
from PIL import Image

from contract.errors import ErrorCode, ItemError
from worker.images.decode import MAX_TALL, MAX_WIDE, decode_crop, decode_image

MAX_PIXELS = 1_000_000

Encode = Callable[..., bytes]

ORIENTATION = 0x0112
"""The EXIF tag that says how a picture is to be turned."""


def grey_ramp() -> np.ndarray:
    """Return 8-bit levels from black to white, 16 columns of 2 rows."""
    return np.tile(np.arange(0, 256, 17, dtype=np.uint8), (2, 1))


def as_rgb(levels: np.ndarray) -> np.ndarray:
    return np.repeat(levels[:, :, None], 3, axis=2)


def failure_of(data: bytes, max_pixels: int = MAX_PIXELS) -> ItemError:
    with pytest.raises(ItemError) as caught:
        decode_crop(data, max_pixels)
    return caught.value


class TestReadRight:
    """Pixels are 8-bit RGB and equal the input, for every mode of the file."""

    @pytest.mark.parametrize("file_format", ["PNG", "BMP", "TIFF", "GIF", "PPM"])
    def test_grayscale(self, encode: Encode, file_format: str) -> None:
        pixels = decode_crop(encode(Image.fromarray(grey_ramp()), file_format), MAX_PIXELS).pixels

        assert pixels.dtype == np.uint8
        np.testing.assert_array_equal(pixels, as_rgb(grey_ramp()))

    @pytest.mark.parametrize("file_format", ["PNG", "BMP", "TIFF"])
    def test_colours_keep_their_channels(self, encode: Encode, file_format: str) -> None:
        colours = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [1, 2, 3]]], np.uint8)

        pixels = decode_crop(encode(Image.fromarray(colours), file_format), MAX_PIXELS).pixels

        np.testing.assert_array_equal(pixels, colours)

    @pytest.mark.parametrize("file_format", ["JPEG", "WEBP"])
    def test_lossy_formats_come_close(self, encode: Encode, file_format: str) -> None:
        data = encode(Image.new("RGB", (16, 8), (200, 30, 90)), file_format, quality=95)

        pixels = decode_crop(data, MAX_PIXELS).pixels

        np.testing.assert_allclose(pixels.reshape(-1, 3).astype(int), [(200, 30, 90)] * 128, atol=6)

    def test_one_bit(self, encode: Encode) -> None:
        black_and_white = Image.new("1", (4, 2), 1)
        black_and_white.putpixel((1, 0), 0)

        pixels = decode_crop(encode(black_and_white), MAX_PIXELS).pixels

        assert pixels[0].tolist() == [[255] * 3, [0] * 3, [255] * 3, [255] * 3]

    def test_fax(self, encode: Encode) -> None:
        fax = Image.new("1", (16, 8), 1)
        fax.putpixel((1, 0), 0)

        pixels = decode_crop(encode(fax, "TIFF", compression="group4"), MAX_PIXELS).pixels

        assert pixels[0, :3, 0].tolist() == [255, 0, 255]

    @pytest.mark.parametrize("file_format", ["JPEG", "TIFF"])
    def test_cmyk(self, encode: Encode, file_format: str) -> None:
        # given a print image: paper white on the left, ink black on the right
        image = Image.new("CMYK", (32, 16), (0, 0, 0, 0))
        image.paste((0, 0, 0, 255), (16, 0, 32, 16))

        pixels = decode_crop(encode(image, file_format), MAX_PIXELS).pixels

        assert pixels[:, :8].min() > 250
        assert pixels[:, -8:].max() < 5

    @pytest.mark.parametrize("file_format", ["PNG", "TIFF"])
    def test_sixteen_bit_grey_keeps_its_whole_range(self, encode: Encode, file_format: str) -> None:
        # given 16-bit samples, which a plain conversion would clip to white
        samples = np.tile(np.arange(0, 65536, 4369, dtype=np.uint16), (2, 1))

        pixels = decode_crop(encode(Image.fromarray(samples), file_format), MAX_PIXELS).pixels

        np.testing.assert_array_equal(pixels, as_rgb(grey_ramp()))

    @pytest.mark.parametrize("extension", [".png", ".tiff"])
    def test_sixteen_bit_colour(self, extension: str) -> None:
        # given what OpenCV, whose channels are blue, green, red, writes
        samples = np.zeros((4, 8, 3), np.uint16)
        samples[:, :, 2], samples[:, :, 1] = 65535, 0x8000

        pixels = decode_crop(cv2.imencode(extension, samples)[1].tobytes(), MAX_PIXELS).pixels

        assert pixels[0, 0].tolist() == [255, 128, 0]

    def test_dark_sixteen_bit_grey_stays_dark(self, encode: Encode) -> None:
        # given a page whose samples all fit into a byte: nearly black, not 8-bit grey
        samples = np.full((4, 8), 200, np.uint16)

        pixels = decode_crop(encode(Image.fromarray(samples)), MAX_PIXELS).pixels

        assert pixels.max() == 0

    @pytest.mark.parametrize("top", [1.0, 255.0])
    def test_float_tiff_of_either_convention(self, encode: Encode, top: float) -> None:
        samples = (grey_ramp() / 255 * top).astype(np.float32)

        pixels = decode_crop(encode(Image.fromarray(samples), "TIFF"), MAX_PIXELS).pixels

        np.testing.assert_allclose(pixels.astype(int), as_rgb(grey_ramp()).astype(int), atol=1)

    def test_float_tiff_with_no_numbers_in_it(self, encode: Encode) -> None:
        samples = np.array([[np.nan, np.inf, -np.inf, 0.0]] * 2, np.float32)

        pixels = decode_crop(encode(Image.fromarray(samples), "TIFF"), MAX_PIXELS).pixels

        assert pixels[0, :, 0].tolist()[0::3] == [0, 0]

    def test_palette(self, encode: Encode) -> None:
        image = Image.new("P", (4, 2), 0)
        image.putpalette([10, 20, 30, 200, 100, 50])
        image.putpixel((1, 0), 1)

        pixels = decode_crop(encode(image), MAX_PIXELS).pixels

        assert pixels[0, :2].tolist() == [[10, 20, 30], [200, 100, 50]]

    @pytest.mark.parametrize("file_format", ["PNG", "GIF"])
    def test_transparent_palette_entry_shows_white_paper(self, encode: Encode, file_format: str) -> None:
        # given black text on a transparent ground whose hidden colour is black too
        image = Image.new("P", (4, 2), 0)
        image.putpalette([0, 0, 0, 0, 0, 0])
        image.putpixel((1, 0), 1)

        pixels = decode_crop(encode(image, file_format, transparency=0), MAX_PIXELS).pixels

        assert pixels[0, :2].tolist() == [[255] * 3, [0] * 3]

    @pytest.mark.parametrize("mode", ["RGBA", "LA"])
    def test_alpha_is_laid_over_white(self, encode: Encode, mode: str) -> None:
        # given black: opaque, half transparent, gone
        image = Image.new(mode, (3, 2))
        for column, alpha in enumerate((255, 128, 0)):
            image.putpixel((column, 0), (*[0] * (len(mode) - 1), alpha))

        pixels = decode_crop(encode(image), MAX_PIXELS).pixels

        assert pixels[0].tolist() == [[0] * 3, [127] * 3, [255] * 3]

    def test_colour_key_transparency(self, encode: Encode) -> None:
        image = Image.new("RGB", (2, 2), (0, 0, 0))
        image.putpixel((1, 0), (9, 9, 9))

        pixels = decode_crop(encode(image, transparency=(0, 0, 0)), MAX_PIXELS).pixels

        assert pixels[0].tolist() == [[255] * 3, [9] * 3]

    @pytest.mark.parametrize(
        ("orientation", "corner"), [(1, (0, 0)), (3, (-1, -1)), (6, (0, -1)), (8, (-1, 0)), (2, (0, -1))]
    )
    @pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP"])
    def test_exif_rotation_is_undone(
        self, encode: Encode, file_format: str, orientation: int, corner: tuple[int, int]
    ) -> None:
        # given a white picture, 32 wide and 16 high as stored, with a dark top left corner as stored
        image = Image.new("RGB", (32, 16), "white")
        image.paste((0, 0, 0), (0, 0, 8, 8))
        exif = Image.Exif()
        exif[ORIENTATION] = orientation

        pixels = decode_crop(encode(image, file_format, exif=exif.tobytes()), MAX_PIXELS).pixels

        # then it is upright: its sides are swapped for quarter turns, and the dark corner is where it belongs
        assert pixels.shape[:2] == ((32, 16) if orientation in (6, 8) else (16, 32))
        assert pixels[corner].max() < 40
        others = {(0, 0), (0, -1), (-1, 0), (-1, -1)} - {corner}
        assert min(int(pixels[other].min()) for other in others) > 215

    @pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP"])
    @pytest.mark.parametrize("exif", [b"Exif\0\0no exif at all", b"Exif\0\0II*\0\xff\xff\xff\x7f"])
    @pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
    def test_a_damaged_exif_block_does_not_cost_the_picture(
        self, encode: Encode, file_format: str, exif: bytes
    ) -> None:
        data = encode(Image.new("RGB", (16, 8), "white"), file_format, exif=exif)

        assert decode_crop(data, MAX_PIXELS).pixels.min() > 250

    @pytest.mark.parametrize("file_format", ["GIF", "PNG", "WEBP", "TIFF"])
    def test_of_several_frames_the_first_is_read_and_it_is_said_so(
        self, encode: Encode, file_format: str
    ) -> None:
        first, second, third = (Image.new("RGB", (16, 8), colour) for colour in ("red", "lime", "blue"))
        options = {"lossless": True} if file_format == "WEBP" else {}

        image = decode_crop(
            encode(first, file_format, save_all=True, append_images=[second, third], **options), MAX_PIXELS
        )

        assert image.note == "first of 3 frames"
        assert image.pixels[0, 0].tolist() == [255, 0, 0]

    def test_a_camera_file_with_a_preview_is_one_picture(self, encode: Encode) -> None:
        # given an MPO: a JPEG followed by another view of the same scene
        first, second = (Image.new("RGB", (16, 8), colour) for colour in ("white", "black"))

        image = decode_crop(encode(first, "MPO", save_all=True, append_images=[second]), MAX_PIXELS)

        assert image.note is None
        assert image.pixels.min() > 250

    def test_a_single_frame_bears_no_note(self, encode: Encode) -> None:
        assert decode_crop(encode(Image.new("RGB", (16, 8))), MAX_PIXELS).note is None

    def test_at_the_pixel_limit(self, encode: Encode) -> None:
        assert decode_crop(encode(Image.new("L", (40, 10))), max_pixels=400).pixels.shape == (10, 40, 3)


@pytest.fixture
def noise() -> Image.Image:
    """A picture that does not compress, so that a cut goes through its pixels."""
    return Image.fromarray(np.random.default_rng(5).integers(0, 256, (64, 64, 3), np.uint8))


def declared_png(width: int, height: int) -> bytes:
    """Return a PNG of under 100 bytes whose header declares the size."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    body = zlib.compress(b"\0" * 64)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


NOT_IMAGES = {
    "text": b"Dear customer, your invoice is attached.\n" * 20,
    "html": b"<!doctype html><title>404</title>",
    "pdf": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n<<>>\nendobj\n",
    "zip": b"PK\x03\x04" + bytes(64),
    "svg": b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>',
    "noise": bytes(range(256)) * 4,
    "one byte": b"\x89",
    "eps, which a decoder would run": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n",
}


class TestRefused:
    """Each bad file ends as an item error with its code, and the message says what to do."""

    @pytest.mark.parametrize("data", NOT_IMAGES.values(), ids=NOT_IMAGES.keys())
    def test_not_an_image(self, data: bytes) -> None:
        error = failure_of(data)

        assert error.code is ErrorCode.NOT_AN_IMAGE
        assert "PNG, JPEG" in error.message  # says which formats can be read

    @pytest.mark.parametrize("kept", [0.3, 0.9])
    @pytest.mark.parametrize("file_format", ["PNG", "JPEG", "TIFF", "WEBP", "BMP", "GIF"])
    def test_truncated(self, encode: Encode, noise: Image.Image, file_format: str, kept: float) -> None:
        data = encode(noise, file_format)

        error = failure_of(data[: int(len(data) * kept)])

        assert error.code is ErrorCode.TRUNCATED
        assert "truncated" in error.message
        assert "upload it again" in error.message

    @pytest.mark.parametrize("file_format", ["PNG", "JPEG", "TIFF", "WEBP", "BMP"])
    def test_truncated_within_the_header(self, encode: Encode, noise: Image.Image, file_format: str) -> None:
        error = failure_of(encode(noise, file_format)[:28])

        assert error.code is ErrorCode.TRUNCATED
        assert "upload it again" in error.message

    def test_truncated_tiff_whose_directory_stood_at_its_end(
        self, encode: Encode, noise: Image.Image
    ) -> None:
        # given what libtiff writes: the directory comes last, so it is the part that is missing
        data = encode(noise, "TIFF", compression="tiff_lzw")

        assert failure_of(data[: len(data) // 2]).code is ErrorCode.TRUNCATED

    def test_damaged_in_the_middle(self, encode: Encode, noise: Image.Image) -> None:
        data = bytearray(encode(noise))
        data[2000:2100] = bytes(100)

        assert failure_of(bytes(data)).code is ErrorCode.TRUNCATED

    @pytest.mark.parametrize(("width", "height"), [(60_000, 60_000), (2_000_000_000, 2), (1001, 1000)])
    def test_decompression_bomb_is_refused_by_its_header(self, width: int, height: int) -> None:
        error = failure_of(declared_png(width, height))

        assert error.code is ErrorCode.TOO_MANY_PIXELS
        assert f"{width} x {height}" in error.message
        assert "TRACE_OCR_MAX_PIXELS" in error.message

    def test_bomb_of_no_pixel_is_decoded(self, monkeypatch: pytest.MonkeyPatch, encode: Encode) -> None:
        # given a decoder that must not start
        def decoded(*_: object, **__: object) -> None:
            raise AssertionError("a pixel was decoded")

        data = encode(Image.new("RGB", (2000, 1000)))
        monkeypatch.setattr("PIL.ImageFile.ImageFile.load", decoded)

        assert failure_of(data).code is ErrorCode.TOO_MANY_PIXELS

    @pytest.mark.parametrize("size", [(1, 1), (1, 20), (20, 1), (300, 1)])
    def test_too_small(self, encode: Encode, size: tuple[int, int]) -> None:
        error = failure_of(encode(Image.new("RGB", size)))

        assert error.code is ErrorCode.TOO_SMALL
        assert f"{size[0]} x {size[1]}" in error.message
        assert "how crops are cut" in error.message

    @pytest.mark.parametrize("size", [(MAX_WIDE * 2 + 1, 2), (2, MAX_TALL * 2 + 1)])
    def test_extreme_aspect(self, encode: Encode, size: tuple[int, int]) -> None:
        error = failure_of(encode(Image.new("RGB", size)))

        assert error.code is ErrorCode.EXTREME_ASPECT
        assert f"{size[0]} x {size[1]}" in error.message
        assert "how crops are cut" in error.message

    @pytest.mark.parametrize("size", [(MAX_WIDE * 2, 2), (2, MAX_TALL * 2), (2, 2)])
    def test_the_most_extreme_shapes_still_read(self, encode: Encode, size: tuple[int, int]) -> None:
        assert decode_crop(encode(Image.new("RGB", size)), MAX_PIXELS).pixels.shape == (*size[::-1], 3)

    def test_a_turned_sliver_is_judged_upright(self, encode: Encode) -> None:
        # given a line stored standing, with the EXIF note that turns it: as stored it would be too tall
        exif = Image.Exif()
        exif[ORIENTATION] = 6
        data = encode(Image.new("RGB", (2, 2 * MAX_TALL + 10)), "PNG", exif=exif.tobytes())

        assert decode_crop(data, MAX_PIXELS).pixels.shape == (2, 2 * MAX_TALL + 10, 3)

    def test_pages_have_no_shape_limit(self, encode: Encode) -> None:
        assert decode_image(encode(Image.new("RGB", (1, 1))), MAX_PIXELS).pixels.shape == (1, 1, 3)

    def test_running_out_of_memory_is_no_fault_of_the_file(
        self, monkeypatch: pytest.MonkeyPatch, encode: Encode
    ) -> None:
        def out_of_memory(*_: object, **__: object) -> None:
            raise MemoryError

        data = encode(Image.new("RGBA", (8, 8)))
        monkeypatch.setattr("PIL.ImageFile.ImageFile.load", out_of_memory)

        with pytest.raises(MemoryError):
            decode_crop(data, MAX_PIXELS)


class TestNamesDoNotMatter:
    """The bytes say what a file is; its name is never looked at."""

    def test_bytes_of_another_format_than_any_name_says(self, encode: Encode) -> None:
        image = Image.new("RGB", (8, 8), (1, 2, 3))

        data = [encode(image, "PNG"), encode(image, "BMP"), encode(image, "TIFF")]

        assert [decode_crop(one, MAX_PIXELS).pixels[0, 0].tolist() for one in data] == [[1, 2, 3]] * 3

    def test_bytes_after_the_image_do_no_harm(self, encode: Encode) -> None:
        data = encode(Image.new("RGB", (8, 8), (1, 2, 3)))

        assert decode_crop(data + b"trailing bytes of an uploader", MAX_PIXELS).pixels[0, 0].tolist() == [
            1,
            2,
            3,
        ]
