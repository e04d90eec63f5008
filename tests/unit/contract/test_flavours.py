"""Every flavour of TIFF, PNG and BMP has the pixels that were put in, and those that another decoder gets."""

import itertools
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import pyvips
from PIL import Image

from contract.errors import ErrorCode, ItemError
from contract.images import decode_rgb
from tests.unit.flavours import Samples, Tags, bmp_file, encoded, packed, png_file, tiff_file, tiff_of_samples

MAX_PIXELS = 100_000

HEIGHT, WIDTH = 12, 37
"""An odd width, so that rows of few bits end within a byte."""

WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, CMYK, YCBCR = 0, 1, 2, 3, 5, 6
COUNTS = {WHITE_IS_ZERO: 1, BLACK_IS_ZERO: 1, RGB: 3, PALETTE: 1, CMYK: 4, YCBCR: 3}

UNKNOWN, ASSOCIATED, UNASSOCIATED = 0, 1, 2

ROUNDING = 2
"""What colours of other spaces, and those under alpha, may differ by."""

RANDOM = np.random.default_rng(0)

Bands = npt.NDArray[np.int64]


def pixels_of(data: bytes) -> Bands:
    """Return what the product makes of a file."""
    return np.asarray(decode_rgb(data, MAX_PIXELS).image).astype(np.int64)


def refusal(data: bytes) -> ItemError:
    with pytest.raises(ItemError) as raised:
        decode_rgb(data, MAX_PIXELS)
    return raised.value


def tags_of(grey: Samples) -> Tags:
    """Return the tags of a page of 8-bit grey."""
    height, width, _ = grey.shape
    sides = {256: (3, [width]), 257: (3, [height]), 278: (3, [height])}
    return {**sides, 258: (3, [8]), 259: (3, [1]), 262: (3, [BLACK_IS_ZERO]), 277: (3, [1])}


def random_samples(count: int, bits: int, alpha: bool) -> Samples:
    """Return samples that use all bits; the last one is an alpha that is not 0 everywhere."""
    if bits == -32:
        return RANDOM.random((HEIGHT, WIDTH, count), np.float32)
    samples = RANDOM.integers(0, 1 << bits, (HEIGHT, WIDTH, count), np.int64)
    samples[0, 0], samples[0, 1] = 0, (1 << bits) - 1
    if alpha:
        samples[1, 0, -1] = (1 << bits) - 1
    return samples


def multiplied(samples: Samples, bits: int) -> Samples:
    """Return samples whose colours are multiplied by their alpha, the last one."""
    highest = 1 if bits == -32 else (1 << bits) - 1
    product = samples[:, :, :-1] * (samples[:, :, -1:] / highest)
    return np.dstack([product.astype(samples.dtype), samples[:, :, -1:]])


def eight_bits(samples: Samples, bits: int) -> Bands:
    if bits == -32:
        return np.floor(samples.astype(np.float64) * 255).astype(np.int64)
    return samples * 255 // ((1 << bits) - 1) if bits < 8 else samples >> (bits - 8)


def seen(photometric: int, bands: Bands, extra: int | None, colours: Samples) -> Bands:
    """Return red, green and blue on white paper, of bands of 8 bits."""
    inks = bands[:, :, : COUNTS[photometric]]
    if photometric == WHITE_IS_ZERO:
        inks = 255 - inks
    if photometric == PALETTE:
        inks = colours[inks[:, :, 0]]
    if photometric == CMYK:
        inks = (255 - inks[:, :, :3]) * (255 - inks[:, :, 3:]) // 255
    if photometric == YCBCR:
        light, blue, red = (inks[:, :, band].astype(float) for band in range(3))
        mixed = (
            light + 1.402 * (red - 128),
            light - 0.344136 * (blue - 128) - 0.714136 * (red - 128),
            light + 1.772 * (blue - 128),
        )
        inks = np.clip(np.dstack(mixed), 0, 255).astype(np.int64)
    inks = np.broadcast_to(inks, (*inks.shape[:2], 3))
    if extra not in (ASSOCIATED, UNASSOCIATED):
        return inks
    alpha = bands[:, :, COUNTS[photometric] :][:, :, :1]
    on_white = 255 - alpha + (inks if extra == ASSOCIATED else inks * alpha // 255)
    return np.clip(on_white, 0, 255)


def flavours(photometric: int, bits: int) -> Iterator[dict[str, Any]]:
    """Yield what else may differ between two TIFFs of samples of one meaning and depth."""
    ways = itertools.product(
        "<>", [False, True], [None, UNKNOWN, ASSOCIATED, UNASSOCIATED], [(1, 1), (8, 1), (8, 2)], [0, 1]
    )
    for order, planar, extra, (compression, predictor), tiled in ways:
        if predictor == 2 and (bits not in (8, 16) or tiled or photometric in (PALETTE, YCBCR)):
            continue
        if planar and extra is None and COUNTS[photometric] == 1:
            continue
        if extra == ASSOCIATED and photometric in (WHITE_IS_ZERO, PALETTE, YCBCR, CMYK):
            continue
        layout: dict[str, Any] = {"tile": 16} if tiled else {"strips": 3, "big": planar}
        yield {
            "order": order,
            "planar": planar,
            "extra": extra,
            "compression": compression,
            "predictor": predictor,
            **layout,
        }


def by_libvips(data: bytes) -> Bands | None:
    """Return libvips' bands, as 8 bits; None if it cannot open the file."""
    try:
        image = pyvips.Image.new_from_buffer(data, "")
        bands = np.asarray(image.numpy()).reshape(HEIGHT, WIDTH, -1)
    except pyvips.Error:
        return None
    if bands.dtype == np.uint8:
        return bands.astype(np.int64)
    if bands.dtype == np.uint16:
        return bands.astype(np.int64) >> 8
    return None


def as_libvips_sees(data: bytes, photometric: int, extra: int | None, planar: bool) -> Bands | None:
    """Return red, green and blue of libvips' bands, which it has inverted, or divided by their alpha.

    None where it gets them wrong itself: planes of fewer than three colours, and palettes with alpha.
    """
    bands = by_libvips(data)
    if bands is None or (planar and photometric not in (RGB, CMYK)) or (photometric == PALETTE and extra):
        return None
    meaning = {WHITE_IS_ZERO: BLACK_IS_ZERO, PALETTE: RGB}.get(photometric, photometric)
    return seen(meaning, bands, UNASSOCIATED if extra == ASSOCIATED else extra, np.zeros(0))


DEPTHS = {
    WHITE_IS_ZERO: (1, 2, 4, 8, 12, 16, 32, -32),
    BLACK_IS_ZERO: (1, 2, 4, 8, 12, 16, 32, -32),
    RGB: (1, 2, 4, 8, 12, 16, 32, -32),
    PALETTE: (1, 2, 4, 8),
    CMYK: (8, 16),
    YCBCR: (8,),
}


@pytest.mark.parametrize(
    ("photometric", "bits"), [(meaning, bits) for meaning, depths in DEPTHS.items() for bits in depths]
)
def test_tiff(photometric: int, bits: int) -> None:
    colours = RANDOM.integers(0, 256, (1 << max(bits, 1), 3)) if photometric == PALETTE else np.zeros(0)
    more = {320: (3, [int(value) * 257 for value in colours.T.flat])} if photometric == PALETTE else {}
    if photometric == YCBCR:
        more = {530: (3, [1, 1])}
    wrong, compared = [], 0
    for how in flavours(photometric, bits):
        extra = how["extra"]
        samples = random_samples(COUNTS[photometric] + (extra is not None), bits, extra is not None)
        if extra == ASSOCIATED:
            samples = multiplied(samples, bits)
        data = tiff_of_samples(samples, photometric, abs(bits), **how, more=more)
        bands = eight_bits(samples, bits)
        if photometric == PALETTE:
            bands[:, :, 0] = samples[:, :, 0]
        allowed = ROUNDING if extra or photometric >= CMYK else 0
        try:
            ours = pixels_of(data)
        except ItemError as error:
            wrong.append((how, error.message))
            continue
        if abs(ours - seen(photometric, bands, extra, colours)).max() > allowed:
            wrong.append((how, "not what was put in"))
        theirs = as_libvips_sees(data, photometric, extra, how["planar"])
        compared += theirs is not None
        if theirs is not None and abs(ours - theirs).max() > allowed:
            wrong.append((how, "not what libvips reads"))
    assert wrong == []
    assert compared or bits not in (8, 16)


class TestTiff:
    """What single files have, and tables of flavours do not."""

    def test_a_colour_map_of_8_bits_is_one(self) -> None:
        samples, colours = random_samples(1, 8, False), RANDOM.integers(0, 256, (256, 3))
        data = tiff_of_samples(samples, PALETTE, 8, more={320: (3, [int(one) for one in colours.T.flat])})

        assert np.array_equal(pixels_of(data), colours[samples[:, :, 0]])

    @pytest.mark.parametrize(("across", "down"), [(2, 2), (2, 1), (4, 1), (1, 2)])
    def test_colours_in_blocks(self, across: int, down: int) -> None:
        # given brightness of each pixel, and two colours of each block; the picture ends within blocks
        height, width = 10, 22
        lines, columns = -(-height // down), -(-width // across)
        light = RANDOM.integers(0, 256, (lines * down, columns * across))
        tints = RANDOM.integers(0, 256, (lines, columns, 2))
        blocks = light.reshape(lines, down, columns, across).swapaxes(1, 2).reshape(lines, columns, -1)
        rows = np.concatenate([blocks, tints], axis=2).astype(np.uint8)
        tags = {
            256: (3, [width]),
            257: (3, [height]),
            258: (3, [8] * 3),
            259: (3, [1]),
            262: (3, [YCBCR]),
            277: (3, [3]),
            278: (3, [height]),
            284: (3, [1]),
            530: (3, [across, down]),
        }

        pixels = pixels_of(tiff_file((tags, [rows.tobytes()])))

        spread = tints.repeat(down, axis=0).repeat(across, axis=1)
        wanted = seen(YCBCR, np.dstack([light, spread])[:height, :width], None, np.zeros(0))
        assert abs(pixels - wanted).max() <= ROUNDING

    def test_colours_of_cie_are_grey_where_they_say_so(self) -> None:
        samples = random_samples(3, 8, False)
        samples[:, :, 1:] = 0

        pixels = pixels_of(tiff_of_samples(samples, 8, 8))

        # Brightness as of CIE: 50 of 100 is the grey of 119.
        assert abs(np.ptp(pixels, axis=2)).max() <= ROUNDING
        middle = np.full((HEIGHT, WIDTH, 3), (128, 0, 0))
        assert abs(pixels_of(tiff_of_samples(middle, 8, 8)) - 119).max() <= ROUNDING

    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_it_is_turned_as_it_says_in_every_decoder(self, orientation: int) -> None:
        samples = random_samples(2, 16, True)
        tag = {274: (3, [orientation])}
        grey = samples[:, :, :1]

        ours = pixels_of(tiff_of_samples(samples, BLACK_IS_ZERO, 16, extra=UNKNOWN, more=tag))
        pillows = pixels_of(tiff_of_samples(grey, BLACK_IS_ZERO, 16, more=tag))

        assert np.array_equal(ours, pillows)

    def test_smaller_copies_and_masks_are_no_frames(self) -> None:
        page, small = random_samples(1, 8, False), random_samples(1, 8, False)

        for kind in (1, 4, 5):
            pages = [({**tags_of(page)}, [page.astype(np.uint8).tobytes()])]
            other = ({**tags_of(small), 254: (4, [kind])}, [small.astype(np.uint8).tobytes()])
            for directories in ([*pages, other], [other, *pages]):
                picture = decode_rgb(tiff_file(*directories), MAX_PIXELS)
                assert picture.note is None
                assert np.array_equal(np.asarray(picture.image)[:, :, 0], page[:, :, 0])

    @pytest.mark.parametrize("last", [10**6, 1])
    def test_a_broken_second_directory_does_not_cost_the_first(self, last: int) -> None:
        page = random_samples(1, 8, False)
        data = tiff_file((tags_of(page), [page.astype(np.uint8).tobytes()]), last=last)

        assert np.array_equal(pixels_of(data)[:, :, 0], page[:, :, 0])

    def test_a_second_directory_of_unknown_kind_does_not_cost_the_first(self) -> None:
        page = random_samples(1, 8, False)
        strip = [page.astype(np.uint8).tobytes()]
        data = tiff_file((tags_of(page), strip), ({**tags_of(page), 258: (3, [7])}, strip))

        assert np.array_equal(pixels_of(data)[:, :, 0], page[:, :, 0])

    @pytest.mark.parametrize("change", [{258: (3, [7])}, {259: (3, [34712])}, {262: (3, [32803])}])
    def test_a_kind_that_is_not_supported_is_not_called_damaged(self, change: Any) -> None:
        page = random_samples(1, 8, False)
        data = tiff_file(({**tags_of(page), **change}, [page.astype(np.uint8).tobytes()]))

        error = refusal(data)

        assert error.code is ErrorCode.UNSUPPORTED_IMAGE
        assert "save it as" in error.message

    @pytest.mark.parametrize("compression", [1, 8])
    @pytest.mark.parametrize("photometric", [WHITE_IS_ZERO, BLACK_IS_ZERO])
    def test_cut_off_pixels_are_not_made_up(self, photometric: int, compression: int) -> None:
        # given a directory before its pixels, which are cut off; Pillow decodes one, this product the other
        page = random_samples(1, 16, False)
        data = tiff_of_samples(page, photometric, 16, compression=compression)
        head = tiff_of_samples(page, photometric, 16, compression=compression)
        (place,) = struct.unpack("<I", data[4:8])
        moved = b"II*\0" + struct.pack("<I", 8) + data[place:]

        assert len(moved) < len(head)
        assert refusal(moved).code is ErrorCode.TRUNCATED


class TestPng:
    @pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
    @pytest.mark.parametrize("colour_type", [0, 2, 4, 6])
    def test_a_transparent_colour_and_alpha(self, colour_type: int, depth: int) -> None:
        if depth < 8 and colour_type:
            return
        count = {0: 1, 2: 3, 4: 2, 6: 4}[colour_type]
        samples = random_samples(count, depth, colour_type > 2)
        rows = b"".join(b"\0" + packed(row[None], depth, ">") for row in samples)
        key = samples[3, 3].astype(">u2").tobytes()
        chunks = [(b"tRNS", key)] if colour_type < 3 else []

        data = png_file((WIDTH, HEIGHT, depth, colour_type), rows, *chunks)

        levels = eight_bits(samples, depth)
        if colour_type < 3:
            shown = (samples != samples[3, 3]).any(axis=2)[:, :, None] * 255
            levels = np.dstack([levels, shown])
        meaning = BLACK_IS_ZERO if count < 3 else RGB
        assert abs(pixels_of(data) - seen(meaning, levels, UNASSOCIATED, np.zeros(0))).max() <= 1
        theirs = by_libvips(data)
        assert theirs is not None
        assert abs(pixels_of(data) - seen(meaning, theirs, UNASSOCIATED, np.zeros(0))).max() <= 1

    @pytest.mark.parametrize("after", [False, True])
    @pytest.mark.parametrize("kind", [b"iCCP", b"zTXt", b"iTXt"])
    def test_large_remarks_do_not_cost_the_pixels(self, kind: bytes, after: bool) -> None:
        samples = random_samples(3, 8, False)
        rows = b"".join(b"\0" + row.astype(np.uint8).tobytes() for row in samples)
        large = zlib.compress(bytes(1 << 20) + b"x")
        body = b"name\0\1\0\0\0" + large if kind == b"iTXt" else b"name\0\0" + large

        data = png_file((WIDTH, HEIGHT, 8, 2), rows, (kind, body), after=after)

        assert np.array_equal(pixels_of(data), samples)


class TestBmp:
    ORDERS = (
        (0xFF, 0xFF00, 0xFF0000, 0),
        (0xFF0000, 0xFF00, 0xFF, 0),
        (0xFF00, 0xFF0000, 0xFF000000, 0),
        (0xFF, 0x3FC00, 0xFF00000, 0),
        (0x3FF00000, 0xFFC00, 0x3FF, 0),
        (0xFF0000, 0xFF00, 0xFF, 0xFF000000),
        (0xFF00, 0xFF0000, 0xFF000000, 0xFF),
    )
    DEEP = (
        (0xF800, 0x7E0, 0x1F, 0),
        (0x7C00, 0x3E0, 0x1F, 0),
        (0xF00, 0xF0, 0xF, 0xF000),
        (0x1F, 0x7E0, 0xF800, 0),
    )

    @pytest.mark.parametrize("top_down", [False, True])
    @pytest.mark.parametrize("header", [40, 56, 108, 124])
    @pytest.mark.parametrize(
        ("bits", "masks"), [*((32, one) for one in ORDERS), *((16, one) for one in DEEP)]
    )
    def test_bit_fields(self, bits: int, masks: tuple[int, ...], header: int, top_down: bool) -> None:
        if header == 40 and masks[3]:
            return
        pixels, bands = np.zeros((HEIGHT, WIDTH), np.int64), []
        for mask in masks:
            shift = (mask & -mask).bit_length() - 1 if mask else 0
            length = (mask >> shift).bit_length()
            values = RANDOM.integers(0, max(1, 1 << length), (HEIGHT, WIDTH))
            values[0, 0] = (1 << length) - 1
            pixels |= values << shift
            bands.append(values >> (length - 8) if length > 8 else values * 255 // max(1, (1 << length) - 1))

        data = bmp_file(
            pixels,
            bits,
            compression=3,
            masks=masks[: 3 if header == 40 else 4],
            header=header,
            top_down=top_down,
        )

        extra = UNASSOCIATED if masks[3] else None
        wanted = seen(RGB, np.dstack(bands), extra, np.zeros(0))
        assert abs(pixels_of(data) - wanted).max() <= 1

    @pytest.mark.parametrize("bits", [1, 4, 8])
    @pytest.mark.parametrize(
        "colours", [[(0, 0, 0), (255, 255, 255)], [(255, 255, 255), (0, 0, 0)], [(0, 0, 0)]]
    )
    def test_two_colours(self, bits: int, colours: list[tuple[int, int, int]]) -> None:
        pixels = RANDOM.integers(0, len(colours), (HEIGHT, WIDTH))
        palette = b"".join(bytes((*reversed(colour), 0)) for colour in colours)

        data = bmp_file(pixels, bits, palette=palette, colours=len(colours))

        assert np.array_equal(pixels_of(data), np.array(colours)[pixels])
        theirs = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
        assert np.array_equal(pixels_of(data), theirs)


class TestAlpha:
    @pytest.mark.parametrize("mode", ["RGBA", "LA"])
    @pytest.mark.parametrize("image_format", ["PNG", "WEBP", "TIFF"])
    def test_one_that_is_0_everywhere_is_none(self, image_format: str, mode: str) -> None:
        picture = Image.fromarray(random_samples(3, 8, False).astype(np.uint8)).convert(mode)
        picture.putalpha(0)
        options = {"lossless": True, "exact": True} if image_format == "WEBP" else {}

        pixels = pixels_of(encoded(picture, image_format, **options))

        assert np.array_equal(pixels, np.asarray(picture.convert("RGB")))

    @pytest.mark.parametrize("colour", [(255, 255, 255), (250, 250, 240)])
    def test_text_as_white_as_paper_is_shown_on_black(self, colour: tuple[int, int, int]) -> None:
        picture = Image.new("RGBA", (20, 10), (0, 0, 0, 0))
        picture.paste((*colour, 255), (5, 3, 15, 7))

        pixels = pixels_of(encoded(picture))

        assert pixels[0, 0].tolist() == [0, 0, 0]
        assert pixels[5, 10].tolist() == list(colour)

    @pytest.mark.parametrize("colour", [(0, 0, 0), (200, 30, 30), (200, 200, 200)])
    def test_any_other_text_is_shown_on_white(self, colour: tuple[int, int, int]) -> None:
        picture = Image.new("RGBA", (20, 10), (0, 0, 0, 0))
        picture.paste((*colour, 255), (5, 3, 15, 7))

        assert pixels_of(encoded(picture))[0, 0].tolist() == [255, 255, 255]

    def test_a_blank_picture_stays_white(self) -> None:
        picture = Image.new("RGBA", (20, 10), (255, 255, 255, 3))

        assert pixels_of(encoded(picture)).min() == 255


class TestResolution:
    @pytest.mark.parametrize("image_format", ["PNG", "JPEG", "BMP", "TIFF"])
    def test_it_is_the_files_own(self, image_format: str) -> None:
        data = encoded(Image.new("RGB", (20, 10)), image_format, dpi=(300, 200))

        assert decode_rgb(data, MAX_PIXELS).resolution == pytest.approx((300, 200), abs=0.1)

    def test_it_is_turned_with_the_picture(self) -> None:
        exif = Image.Exif()
        exif[0x0112] = 6

        data = encoded(Image.new("RGB", (20, 10)), "JPEG", dpi=(300, 200), exif=exif.tobytes())

        assert decode_rgb(data, MAX_PIXELS).resolution == (200, 300)

    @pytest.mark.parametrize("dpi", [(0, 0), (1, 1), (100_000, 100_000)])
    def test_one_that_no_scanner_has_is_none(self, dpi: tuple[int, int]) -> None:
        assert decode_rgb(encoded(Image.new("RGB", (20, 10)), "PNG", dpi=dpi), MAX_PIXELS).resolution is None

    def test_most_files_have_none(self) -> None:
        assert decode_rgb(encoded(Image.new("RGB", (20, 10))), MAX_PIXELS).resolution is None
