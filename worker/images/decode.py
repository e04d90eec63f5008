"""Step 4: decode one item's bytes to an RGB array, or raise an item error that says what is wrong."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from contract.errors import (
    AccessDeniedError,
    ArchivedError,
    CredentialsError,
    ErrorCode,
    ExtraMissingError,
    ItemError,
    NotAFileError,
    ObjectMissingError,
    OutsideAllowedRootsError,
    StorageError,
    StorageRefusedError,
    TooManyBytesError,
    UnsupportedUriError,
)
from contract.images import Picture, decode_rgb, resolution_of
from contract.storage import Storage
from contract.storage.roots import AllowedRoots
from contract.tiff import Resolution
from worker.images.fast_decode import decode_plain
from worker.kernels.pixels import Pixels

MIN_SIDE = 2
"""Minimum height and width of a crop in pixels: less cannot show a stroke and its background."""

MAX_WIDE, MAX_TALL = 256, 32
"""Maximum width over height, and height over width. docTR cuts a wide crop into pieces of aspect 6: 256 is a
line of some 400 characters and 85 pieces. It scales a tall crop to a height of 32 pixels: beyond 32 no width
is left."""

_STORAGE_CODES: dict[type[Exception], ErrorCode] = {
    ObjectMissingError: ErrorCode.NOT_FOUND,
    NotAFileError: ErrorCode.NOT_A_FILE,
    AccessDeniedError: ErrorCode.ACCESS_DENIED,
    OutsideAllowedRootsError: ErrorCode.OUTSIDE_ALLOWED_ROOTS,
    UnsupportedUriError: ErrorCode.UNSUPPORTED_URI,
    ArchivedError: ErrorCode.ARCHIVED,
    StorageRefusedError: ErrorCode.STORAGE_REFUSED,
    TooManyBytesError: ErrorCode.TOO_MANY_BYTES,
}
File = bytes | Path
"""An image file's bytes, or the local path of a document."""


@dataclass(frozen=True, slots=True)
class DecodedImage:
    """A decoded crop or page.

    Args:
        pixels: RGB, (height, width, 3) uint8
        note: set if the file contains more than was read
        resolution: a page's own dots per inch, across and down; None if it has none
    """

    pixels: Pixels
    note: str | None = None
    resolution: Resolution | None = None


@contextlib.contextmanager
def as_item_errors(limit: str) -> Iterator[None]:
    """Turn storage errors about one file into item errors.

    StorageUnavailableError, CredentialsError and ExtraMissingError pass unchanged: they say nothing about
    the file.

    Args:
        limit: the environment variable that limits a file's bytes, for the message
    """
    try:
        yield
    except (CredentialsError, ExtraMissingError):
        raise
    except tuple(_STORAGE_CODES) as error:
        too_large = isinstance(error, TooManyBytesError)
        advice = f": raise {limit} if the file is meant to be that large" if too_large else ""
        raise ItemError(_STORAGE_CODES[type(error)], f"{error}{advice}") from error


def fetch(uri: str, storage: Storage, roots: AllowedRoots, max_bytes: int) -> bytes:
    """Return the bytes of an item.

    Raises:
        ItemError: the file is missing, denied, outside the roots, empty, or larger than `max_bytes`
        StorageUnavailableError: storage cannot be reached; the chunk must be retried
        CredentialsError: storage does not accept this worker's credentials
    """
    try:
        data = _read(uri, storage, roots, max_bytes)
    except StorageError:
        with as_item_errors("TRACE_OCR_MAX_BYTES"):
            raise
    if not data:
        raise ItemError(ErrorCode.EMPTY_FILE, f"{uri} has zero bytes: was its upload cut off?")
    return data


def _read(uri: str, storage: Storage, roots: AllowedRoots, max_bytes: int) -> bytes:
    if presumed := roots.presumed(uri):
        with contextlib.suppress(ObjectMissingError):
            return storage.at(presumed).read(presumed, max_bytes)
    location = roots.resolved(uri)
    return storage.at(location).read(location, max_bytes)


def decode_image(data: bytes, max_pixels: int) -> DecodedImage:
    """Return the image in the bytes, upright, as 8-bit RGB; the first frame if there are several.

    `decode_plain` decodes plain files; `contract.images` decodes all others.

    Raises:
        ItemError: not an image, truncated, or too many pixels
    """
    plain = decode_plain(data, max_pixels)
    if plain is not None:
        return DecodedImage(plain, resolution=resolution_of(data))
    return as_decoded(decode_rgb(data, max_pixels))


def decode_crop(data: bytes, max_pixels: int) -> DecodedImage:
    """Return the crop in the bytes; raises ItemError as `decode_image`, or if its shape cannot hold text."""
    plain = decode_plain(data, max_pixels)
    image = DecodedImage(plain) if plain is not None else as_decoded(decode_rgb(data, max_pixels))
    check_shape(image.pixels)
    return image


def as_decoded(picture: Picture) -> DecodedImage:
    """Return Pillow's image as an array."""
    return DecodedImage(np.array(picture.image), picture.note, picture.resolution)


def check_shape(pixels: Pixels) -> None:
    """Raise ItemError if a crop's shape cannot hold text."""
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
