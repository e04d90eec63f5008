"""An item's file on this machine, its page as pixels, and the box of its region."""

import contextlib
import io
from collections.abc import Iterator
from math import ceil, floor
from pathlib import Path

from PIL import Image

from contract.documents import Content, content_of_file, is_document, opened_pdf
from contract.errors import TooManyBytesError
from contract.images import decode_rgb
from contract.pages import TiffReader, render
from contract.records import Item
from contract.region import Region
from contract.settings import Settings
from contract.shards.reading import file_of
from contract.storage import Storage, absolute
from contract.storage.base import temporary_file
from contract.storage.roots import AllowedRoots

Box = tuple[int, int, int, int]
"""Left, upper, right and lower pixel, as Pillow has them."""

JPEG_QUALITY = 80
"""JPEG quality of pictures: they are for viewing, not for OCR."""


@contextlib.contextmanager
def local_file(
    item: Item, storage: Storage, settings: Settings, roots: AllowedRoots | None
) -> Iterator[Path]:
    """Provide an item's file as a local one: the file itself, or a copy that is removed at the end.

    Args:
        roots: the roots of the job's items; None if every file that the user may read is allowed

    Raises:
        StorageError, ItemError: as `file_of`
    """
    if item.member is not None:
        with temporary_file(file_of(item, storage, roots, settings.max_bytes), item.name) as path:
            yield path
        return
    uri = roots.resolved(item.uri) if roots else absolute(item.uri)
    document = bool(item.page) or is_document(item.uri)
    name = "max_document_bytes" if document else "max_bytes"
    store, limit = storage.at(uri), getattr(settings, name)
    if store.size(uri) > limit:
        raise TooManyBytesError(
            f"{uri} is larger than {limit:,} bytes: raise TRACE_OCR_{name.upper()} to see it"
        )
    with store.local_copy(uri) as path:
        yield path


def picture_of_page(
    path: Path, number: int, resolution: int, tiffs: TiffReader, max_pixels: int, *, forms: bool
) -> Image.Image:
    """Return a page of a document, or an image, as workers see it: RGB and upright.

    Args:
        number: counted from 1; an image is read whatever the number
        resolution: dots per inch, for PDFs
        forms: draw the form fields of PDFs

    Raises:
        ItemError: it is damaged, or larger than `max_pixels`
    """
    content = content_of_file(path)
    if content is Content.IMAGE:
        return decode_rgb(path.read_bytes(), max_pixels).image
    if content is Content.TIFF:
        return tiffs.page(path, number).image
    with opened_pdf(path, forms=forms) as document:
        picture: Image.Image = render(document, number, resolution, max_pixels).to_pil()
        return picture


def jpeg(image: Image.Image) -> bytes:
    """Return an image of a mode that JPEG has as a JPEG file."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=JPEG_QUALITY)
    return buffer.getvalue()


def box_of_region(region: Region, width: int, height: int) -> Box | None:
    """Return the box around a region of a page with so many pixels; None if it is not on the page."""
    if not region.points:
        return None
    across, down = (width, height) if region.unit == "rel" else (1, 1)
    xs, ys = [x * across for x, _ in region.corners], [y * down for _, y in region.corners]
    left, right = max(floor(min(xs)), 0), min(ceil(max(xs)), width)
    upper, lower = max(floor(min(ys)), 0), min(ceil(max(ys)), height)
    return (left, upper, right, lower) if left < right and upper < lower else None
