"""Stage 4: one item's bytes to an RGB array, or an item error that says what is wrong with the file."""

import contextlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from contract.errors import (
    AccessDeniedError,
    ErrorCode,
    ItemError,
    ObjectMissingError,
    OutsideAllowedRootsError,
    TooManyBytesError,
    UnsupportedUriError,
)
from contract.storage import Storage
from contract.storage.roots import AllowedRoots
from worker.images.fast_decode import decode_plain
from worker.kernels.pixels import Pixels

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "DIB", "TIFF", "GIF", "PPM", "JPEG2000")
"""Pillow's decoders that are tried; a closed list, since some others run programs (EPS)."""

SIGNATURES = (b"\x89PNG", b"\xff\xd8\xff", b"RIFF", b"BM", b"II*\0", b"MM\0*", b"GIF8", b"\0\0\0\x0cjP")
"""First bytes of those formats: a file that has them and cannot be opened was an image once."""

MIN_SIDE = 2
"""Pixels: a crop thinner than this holds no stroke and its ground."""

MAX_WIDE, MAX_TALL = 256, 32
"""Width over height, height over width. docTR cuts a wide crop into pieces of aspect 6: 256 is a line of
some 400 characters and 85 pieces. A tall one is scaled to 32 pixels of height: past 32 it has no width."""

_WHITE = (255, 255, 255)
_STORAGE_CODES: dict[type[Exception], ErrorCode] = {
    ObjectMissingError: ErrorCode.NOT_FOUND,
    AccessDeniedError: ErrorCode.ACCESS_DENIED,
    OutsideAllowedRootsError: ErrorCode.OUTSIDE_ALLOWED_ROOTS,
    UnsupportedUriError: ErrorCode.UNSUPPORTED_URI,
    TooManyBytesError: ErrorCode.TOO_MANY_BYTES,
}
File = bytes | Path
"""A file's bytes; or, of a document, where it lies on this machine."""


@dataclass(frozen=True, slots=True)
class DecodedImage:
    """`pixels`: RGB, (height, width, 3) uint8; `note` says so where the file holds more than was read."""

    pixels: Pixels
    note: str | None = None


@contextlib.contextmanager
def as_item_errors(limit: str) -> Iterator[None]:
    """Turn what is wrong with one file of storage into an item error; its being away stays what it is.

    Args:
        limit: the variable that bounds a file's bytes
    """
    try:
        yield
    except tuple(_STORAGE_CODES) as error:
        too_large = isinstance(error, TooManyBytesError)
        advice = f": raise {limit} if the file is meant to be that large" if too_large else ""
        raise ItemError(_STORAGE_CODES[type(error)], f"{error}{advice}") from error


def fetch(uri: str, storage: Storage, roots: AllowedRoots, max_bytes: int) -> bytes:
    """Return the bytes of an item.

    Raises:
        ItemError: missing, denied, outside the roots, empty, or larger than `max_bytes`
        StorageUnavailableError: storage is away; the chunk is to be tried again
    """
    with as_item_errors("TRACE_OCR_MAX_BYTES"):
        roots.check(uri)
        data = storage.at(uri).read(uri, max_bytes)
    if not data:
        raise ItemError(ErrorCode.EMPTY_FILE, f"{uri} has zero bytes: was its upload cut off?")
    return data


def decode_image(data: bytes, max_pixels: int) -> DecodedImage:
    """Return the image in the bytes, upright, as 8-bit RGB; the first frame where there are several.

    The header is checked against `max_pixels` before any pixel is decoded. Alpha is laid over white, as a
    viewer shows it; 16-bit samples keep their upper byte.

    Raises:
        ItemError: not an image, truncated, or too many pixels
    """
    plain = decode_plain(data, max_pixels)
    if plain is not None:
        return DecodedImage(plain)
    image = _open(data)
    check_pixels(*image.size, max_pixels)
    try:
        # An MPO, as phones write them, is a JPEG with a second view of the same scene: not an animation.
        frames = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
        pixels = pixels_of(image)
    except MemoryError:
        raise
    # Any exception: the bytes are a stranger's, and Pillow's plugins raise whatever they trip over.
    except Exception as error:
        raise _damaged(str(image.format), error) from error
    return DecodedImage(pixels, f"first of {frames} frames" if frames > 1 else None)


def check_pixels(width: int, height: int, max_pixels: int, what: str = "") -> None:
    """Raise ItemError if an image would have too many pixels; `what` says which one it is."""
    if width * height > max_pixels:
        raise ItemError(
            ErrorCode.TOO_MANY_PIXELS,
            f"{what}{width} x {height} pixels are more than the {max_pixels:,} allowed: "
            "raise TRACE_OCR_MAX_PIXELS if the image is meant to be that large",
        )


def pixels_of(image: Image.Image) -> Pixels:
    """Return an opened image upright, as RGB (height, width, 3) uint8; raises whatever its plugin does."""
    return np.array(_to_rgb(_upright(image)))


def decode_crop(data: bytes, max_pixels: int) -> DecodedImage:
    """Return the crop in the bytes; raises ItemError as `decode_image` does, and for slivers."""
    image = decode_image(data, max_pixels)
    _check_shape(image.pixels)
    return image


def _check_shape(pixels: Pixels) -> None:
    height, width = pixels.shape[:2]
    if min(height, width) < MIN_SIDE:
        raise ItemError(
            ErrorCode.TOO_SMALL, f"{width} x {height} pixels cannot hold text: check how crops are cut"
        )
    if width > MAX_WIDE * height or height > MAX_TALL * width:
        raise ItemError(
            ErrorCode.EXTREME_ASPECT,
            f"{width} x {height} pixels is too extreme an aspect for a line of text "
            f"(at most {MAX_WIDE}:1 wide, 1:{MAX_TALL} tall): check how crops are cut",
        )


def _open(data: bytes) -> Image.Image:
    # Our own limit applies, per setting and before decoding; Pillow's would warn and raise at another one.
    Image.MAX_IMAGE_PIXELS = None
    try:
        return Image.open(io.BytesIO(data), formats=FORMATS)
    except MemoryError:
        raise
    # Any exception, as in decode_image.
    except Exception as error:
        if data.startswith(SIGNATURES):
            raise _damaged("image", error) from error
        raise ItemError(
            ErrorCode.NOT_AN_IMAGE, f"not an image that can be read; readable are {', '.join(FORMATS)}"
        ) from error


def _damaged(what: str, error: Exception) -> ItemError:
    reason = "" if isinstance(error, UnidentifiedImageError) else f" ({error})"
    return ItemError(ErrorCode.TRUNCATED, f"the {what} file is truncated or damaged{reason}: upload it again")


def _upright(image: Image.Image) -> Image.Image:
    """Turn the image as its EXIF block says; a damaged block says nothing, and the picture is as it is."""
    image.load()
    try:
        return ImageOps.exif_transpose(image)
    except MemoryError:
        raise
    except Exception:
        return image


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F" or image.mode.startswith("I"):
        return Image.fromarray(_to_eight_bits(np.asarray(image))).convert("RGB")
    if image.has_transparency_data:
        opaque = image.convert("RGBA")
        ground = Image.new("RGBA", opaque.size, (*_WHITE, 255))
        return Image.alpha_composite(ground, opaque).convert("RGB")
    return image.convert("RGB")


def _to_eight_bits(samples: npt.NDArray[np.generic]) -> Pixels:
    """Scale 16-bit, 32-bit or floating samples to 8 bits; floats up to 1 are taken as 0..1."""
    values = np.nan_to_num(np.asarray(samples, dtype=np.float64))
    if samples.dtype.kind == "f":
        values = values * 255 if values.max(initial=0) <= 1 else values
    elif samples.dtype.itemsize == 2 or values.max(initial=0) > 255:
        values = np.clip(values, 0, 65535) // 256
    return np.clip(values, 0, 255).astype(np.uint8)
