"""Images decoded by Pillow, for reading and viewing: the formats, and the errors of damaged files."""

import contextlib
import io
import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from PIL import Image, UnidentifiedImageError

from contract import bmp, png, tiff
from contract.errors import ErrorCode, ItemError, UnsupportedImageError
from contract.rgb import upright_rgb
from contract.tiff import Resolution
from contract.tiff.reading import read_page

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "DIB", "TIFF", "GIF", "PPM", "JPEG2000")
"""Pillow's decoders to try; a closed list, since some others run programs (EPS)."""

IMAGE_EXTENSIONS = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"})
"""Extensions of image files that sources take; only the worker inspects their content."""

SIGNATURES = (
    *(
        png.SIGNATURE[:4],
        b"\xff\xd8\xff",
        b"RIFF",
        bmp.SIGNATURE,
        b"GIF8",
        b"\0\0\0\x0cjP",
        b"\xff\x4f\xff\x51",
    ),
    *tiff.SIGNATURES,
)
"""First bytes of those formats: a file that starts with them and cannot be opened is a damaged image."""

MAX_FRAMES = 100_000
"""Directories of one TIFF that are counted; a file that claims more is damaged or malicious."""

MIN_RESOLUTION, MAX_RESOLUTION = 18, 9600
"""Dots per inch that are believed: from the least of `pdf_resolution` to the most that scanners offer."""

_ORIENTATION, _QUARTER_TURNS = 0x0112, (5, 6, 7, 8)
"""EXIF's tag, and its values that exchange width and height."""


@dataclass(frozen=True)
class Picture:
    """A decoded image.

    Args:
        image: upright, 8-bit RGB
        note: set if the file has more than was read
        resolution: the file's own dots per inch, across and down; None if it has none that can be believed
    """

    image: Image.Image
    note: str | None = None
    resolution: Resolution | None = None


def decode_rgb(data: bytes, max_pixels: int) -> Picture:
    """Return the image in the bytes; of several frames, the first.

    The header is checked against `max_pixels` before any pixel is decoded.

    Raises:
        ItemError: not an image, truncated, of a kind that is not supported, or too many pixels
    """
    if data.startswith(tiff.SIGNATURES):
        return _decode_tiff(io.BytesIO(data), max_pixels)
    try:
        image = _open(bmp.mended(data), max_pixels)
        if image.format == "PNG":
            png.scale_key(image, data)
        return _decode(image)
    except ItemError as error:
        if error.code not in (ErrorCode.TRUNCATED, ErrorCode.UNSUPPORTED_IMAGE):
            raise
        picture = _second_look(data, max_pixels)
        if picture is None:
            raise
        return picture


def resolution_of(data: bytes) -> Resolution | None:
    """Return the own resolution of an image that can be decoded, from its header."""
    return _resolution(_open(data, sys.maxsize))


def pixels_of(data: bytes) -> int | None:
    """Return the number of pixels of an image's first frame, as its header gives it; 0 for no image.

    None if only decoding tells: a WebP cannot be opened without the memory for all of its pixels.
    """
    if data.startswith(b"RIFF"):
        return None
    try:
        width, height = _open(data, sys.maxsize).size
    except ItemError as error:
        # What Pillow refuses may still be decoded, after a second look.
        return 0 if error.code is ErrorCode.NOT_AN_IMAGE else None
    return width * height


def check_pixels(width: int, height: int, max_pixels: int, what: str = "") -> None:
    """Raise ItemError if an image has too many pixels; `what` names the image in the message."""
    if width * height > max_pixels:
        raise ItemError(
            ErrorCode.TOO_MANY_PIXELS,
            f"{what}{width} x {height} pixels are more than the {max_pixels:,} allowed: "
            "raise TRACE_OCR_MAX_PIXELS if the image is meant to be that large",
        )


def unsupported(what: str, reason: object) -> ItemError:
    """Return the item error of a sound image that cannot be decoded."""
    return ItemError(
        ErrorCode.UNSUPPORTED_IMAGE, f"{what} is not supported ({reason}): save it as 8-bit grey or RGB"
    )


def believed(resolution: Resolution | None, *, turned: bool) -> Resolution | None:
    """Return dots per inch, or None if they are no measure; `turned` exchanges them."""
    if resolution is None or not all(MIN_RESOLUTION <= side <= MAX_RESOLUTION for side in resolution):
        return None
    return resolution[::-1] if turned else resolution


def turned_by_quarter(orientation: object) -> bool:
    """Return whether a value of EXIF's orientation exchanges width and height."""
    return orientation in _QUARTER_TURNS


def _decode_tiff(file: io.BytesIO, max_pixels: int) -> Picture:
    with _errors("TIFF"):
        pages = tiff.pages_of(file, MAX_FRAMES)
        directory = tiff.directory_of(file, pages, 1)
        check_pixels(*directory.size, max_pixels)
        image = upright_rgb(read_page(file, directory))
    turned = turned_by_quarter(directory.orientation)
    return Picture(image, _note(len(pages.offsets)), believed(directory.resolution, turned=turned))


def _open(data: bytes, max_pixels: int) -> Image.Image:
    # max_pixels applies instead, before decoding; Pillow's own limit differs, and only warns at first.
    Image.MAX_IMAGE_PIXELS = None
    try:
        with _errors("image"):
            image = Image.open(io.BytesIO(data), formats=FORMATS)
    except ItemError as error:
        if data.startswith(SIGNATURES):
            raise
        raise ItemError(
            ErrorCode.NOT_AN_IMAGE,
            f"not an image that can be read; supported formats are {', '.join(FORMATS)}",
        ) from error
    check_pixels(*image.size, max_pixels)
    return image


def _decode(image: Image.Image) -> Picture:
    resolution = _resolution(image)
    with _errors(str(image.format)):
        # An MPO, which phones write, is a JPEG with a second view of the same scene, not an animation.
        frames = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
        return Picture(upright_rgb(image), _note(frames), resolution)


def _second_look(data: bytes, max_pixels: int) -> Picture | None:
    """Return the image of a file that Pillow refuses though its pixels are sound; None if they are not."""
    with contextlib.suppress(ItemError):
        if data.startswith(png.SIGNATURE):
            return _decode(_open(png.without_remarks(data), max_pixels))
        size = bmp.size_of_fields(data)
        if size:
            check_pixels(*size, max_pixels)
            with _errors("BMP"):
                return Picture(upright_rgb(bmp.read_fields(data)))
    return None


@contextlib.contextmanager
def _errors(what: str) -> Iterator[None]:
    """Turn the exceptions of decoders into item errors."""
    try:
        yield
    except (ItemError, MemoryError):
        raise
    except UnsupportedImageError as error:
        raise unsupported(f"this kind of {what} file", error) from error
    # Any exception: the bytes are untrusted, and Pillow's plugins raise many types for damaged files.
    except Exception as error:
        if str(error).startswith("Unsupported"):
            raise unsupported(f"this kind of {what} file", error) from error
        reason = "" if isinstance(error, UnidentifiedImageError) else f" ({error})"
        raise ItemError(
            ErrorCode.TRUNCATED, f"the {what} file is truncated or damaged{reason}: upload it again"
        ) from error


def _note(frames: int) -> str | None:
    return f"first of {frames} frames" if frames > 1 else None


def _resolution(image: Image.Image) -> Resolution | None:
    """Return the image's own resolution."""
    try:
        across, down = (float(side) for side in image.info.get("dpi", ()))
        turned = turned_by_quarter(image.getexif().get(_ORIENTATION))
    # Any exception: the values come from the file, and a damaged EXIF block does not cost the image.
    except Exception:
        return None
    sides = across, down
    return believed(sides, turned=turned) if all(map(math.isfinite, sides)) else None
