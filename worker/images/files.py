"""Decode the files of a chunk in child processes, or crops in the calling thread.

Crops that are no parts of pages usually come from feeders instead, a group at a time.
"""

from dataclasses import dataclass, replace
from pathlib import Path

from contract.errors import ErrorCode, ItemError
from contract.kinds.documents import PDF_RESOLUTION
from contract.records import Item
from worker.images.decode import DecodedImage, File, decode_crop
from worker.images.decoding import Request
from worker.images.isolation import CROP, IMAGE, DecoderPool


@dataclass(frozen=True)
class Decoding:
    """How to decode a pipeline's items.

    Args:
        pages: items are pages, not crops; one with a region is the part of a page in any case
        resolution: dots per inch, for PDFs
        forms: draw the form fields of PDFs
    """

    pages: bool
    resolution: int = PDF_RESOLUTION
    forms: bool = True


def check_only_page(item: Item) -> None:
    """Raise ItemError if an item is a further page of an image that has one."""
    if item.page and item.page > 1:
        raise ItemError(ErrorCode.NO_SUCH_PAGE, f"the image is one page, and has no page {item.page:,}")


def decoded_crop(item: Item, data: bytes, max_pixels: int) -> DecodedImage:
    """Return the crop in an item's file; raises ItemError as `decode_crop`, or if it is a further page."""
    check_only_page(item)
    return decode_crop(data, max_pixels)


class Decoder:
    """Decodes a chunk's images.

    Args:
        decoders: child processes for pages, whether of documents or images
        max_pixels: maximum pixels of one image
        crops_here: crops are decoded in the calling thread, which an image that crashes its decoder ends
    """

    def __init__(
        self, decoders: DecoderPool, max_pixels: int, decoding: Decoding, *, crops_here: bool = False
    ) -> None:
        self._decoders, self._max_pixels, self._decoding = decoders, max_pixels, decoding
        self._crops_here = crops_here

    def __call__(self, item: Item, file: File) -> DecodedImage:
        """Return an item's image; raises ItemError if it cannot be decoded."""
        if isinstance(file, Path):
            return self._first_page(file) if item.region and not item.page else self._page(item, file)
        crop = not self._decoding.pages and item.region is None
        if crop and self._crops_here:
            return decoded_crop(item, file, self._max_pixels)
        check_only_page(item)
        with self._decoders.lent() as decoder:
            return decoder.decode(CROP if crop else IMAGE, file)

    def _first_page(self, path: Path) -> DecodedImage:
        """Return the page of a region that names none; the note says if the document has more."""
        with self._decoders.lent() as decoder:
            pages = decoder.page_count(path)
        image = self._page(Item("", str(path), page=1), path)
        return replace(image, note=f"first of {pages:,} pages") if pages > 1 else image

    def _page(self, item: Item, path: Path) -> DecodedImage:
        with self._decoders.lent() as decoder:
            if item.page:
                decoding = self._decoding
                return decoder.decode(
                    Request("page", str(path), item.page, decoding.resolution, decoding.forms)
                )
            pages = decoder.page_count(path)
        raise ItemError(
            ErrorCode.DAMAGED_DOCUMENT,
            f"the document's pages could not be counted when the job was planned; now they are {pages:,}: "
            "submit it in a new job",
        )
