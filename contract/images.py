"""Images decoded by Pillow: the formats and the conversion to 8-bit RGB, for reading and for viewing."""

import io
from typing import cast

from PIL import Image, ImageMath, ImageOps, UnidentifiedImageError

from contract.errors import ErrorCode, ItemError

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "DIB", "TIFF", "GIF", "PPM", "JPEG2000")
"""Pillow's decoders to try; a closed list, since some others run programs (EPS)."""

SIGNATURES = (b"\x89PNG", b"\xff\xd8\xff", b"RIFF", b"BM", b"II*\0", b"MM\0*", b"GIF8", b"\0\0\0\x0cjP")
"""First bytes of those formats: a file that starts with them and cannot be opened is a damaged image."""

_UNIT = 2**31
"""The integer that represents 1.0; -2**31 is the largest power of 2 in 32 bits."""


def decode_rgb(data: bytes, max_pixels: int) -> tuple[Image.Image, str | None]:
    """Return the image in the bytes, upright, as 8-bit RGB, and a note if the file has more frames.

    The header is checked against `max_pixels` before any pixel is decoded.

    Raises:
        ItemError: not an image, truncated, or too many pixels
    """
    image = _open(data)
    check_pixels(*image.size, max_pixels)
    try:
        # An MPO, which phones write, is a JPEG with a second view of the same scene, not an animation.
        frames = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
        decoded = upright_rgb(image)
    except MemoryError:
        raise
    # Any exception: the bytes are untrusted, and Pillow's plugins raise many types for damaged files.
    except Exception as error:
        raise _damaged(str(image.format), error) from error
    return decoded, f"first of {frames} frames" if frames > 1 else None


def pixels_of(data: bytes) -> int | None:
    """Return the number of pixels of an image's first frame, as its header gives it; 0 for no image.

    None for WebP, which cannot be opened without the memory for all of its pixels.
    """
    if data.startswith(b"RIFF"):
        return None
    try:
        width, height = _open(data).size
    except ItemError:
        return 0
    return width * height


def check_pixels(width: int, height: int, max_pixels: int, what: str = "") -> None:
    """Raise ItemError if an image has too many pixels; `what` names the image in the message."""
    if width * height > max_pixels:
        raise ItemError(
            ErrorCode.TOO_MANY_PIXELS,
            f"{what}{width} x {height} pixels are more than the {max_pixels:,} allowed: "
            "raise TRACE_OCR_MAX_PIXELS if the image is meant to be that large",
        )


def upright_rgb(image: Image.Image) -> Image.Image:
    """Return an opened image upright, as 8-bit RGB; raises the exceptions of its Pillow plugin.

    Alpha is composited over white, as viewers do. 16-bit samples keep their upper byte; so do 32-bit samples,
    unless none is above 255. Floats are in 0..1 if none is above 1.
    """
    image = _upright(image)
    if image.mode == "F" or image.mode.startswith("I"):
        return _to_eight_bits(image).convert("RGB")
    if image.has_transparency_data:
        opaque = image.convert("RGBA")
        ground = Image.new("RGBA", opaque.size, "white")
        return Image.alpha_composite(ground, opaque).convert("RGB")
    return image.convert("RGB")


def _open(data: bytes) -> Image.Image:
    # max_pixels applies instead, before decoding; Pillow's own limit differs, and only warns at first.
    Image.MAX_IMAGE_PIXELS = None
    try:
        return Image.open(io.BytesIO(data), formats=FORMATS)
    except MemoryError:
        raise
    # Any exception, as in decode_rgb.
    except Exception as error:
        if data.startswith(SIGNATURES):
            raise _damaged("image", error) from error
        raise ItemError(
            ErrorCode.NOT_AN_IMAGE,
            f"not an image that can be read; supported formats are {', '.join(FORMATS)}",
        ) from error


def _damaged(what: str, error: Exception) -> ItemError:
    reason = "" if isinstance(error, UnidentifiedImageError) else f" ({error})"
    return ItemError(ErrorCode.TRUNCATED, f"the {what} file is truncated or damaged{reason}: upload it again")


def _upright(image: Image.Image) -> Image.Image:
    """Turn the image as its EXIF block says; with a damaged block, return it unchanged."""
    image.load()
    try:
        return ImageOps.exif_transpose(image)
    except MemoryError:
        raise
    except Exception:
        return image


def _to_eight_bits(image: Image.Image) -> Image.Image:
    """Scale 16-bit or 32-bit integers, or floats, to mode L; the conversion clips and rounds down."""
    if image.mode == "F":
        # max() turns a NaN into 0.
        floats = ImageMath.lambda_eval(lambda names: names["max"](names["image"], 0), image=image)
        return (floats if _highest(floats) > 1 else _of_shares(floats)).convert("L")
    samples = image.convert("I")
    deep = image.mode != "I" or _highest(samples) > 255
    return (samples.point(lambda sample: sample * (1 / 256)) if deep else samples).convert("L")


def _of_shares(floats: Image.Image) -> Image.Image:
    """Return 0..1 as 0..255 in mode I, rounded down. Times 255 as a 32-bit float would round up."""
    integers = floats.point(lambda sample: sample * -_UNIT).convert("I")
    return integers.point(lambda sample: sample * (-255 / _UNIT))


def _highest(image: Image.Image) -> float:
    # An image with one band has one pair.
    return cast("tuple[float, float]", image.getextrema())[1]
