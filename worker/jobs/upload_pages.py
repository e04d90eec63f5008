"""The pages of uploads: what an image and a PDF are made of, and how much of it is read at once."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from contract.broker.uploads import Ticket, Upload
from contract.counting import counted
from contract.errors import ErrorCode, ItemError
from contract.images import pixels_of
from contract.records import Item
from contract.region import Region
from worker.images.isolation import DecoderPool

LARGE_PIXELS = 20_000_000
"""An image with more is read while no other such image is: scaling it takes 12 bytes for each pixel. A page
of A4 at 400 dpi has 15 million pixels."""


@dataclass(frozen=True)
class Page:
    """A page of an upload; the id of its item is the upload's index. An image is one page.

    `pixels` is how many it will have by its header; an image whose header does not tell counts as large.
    A region of an image is a page too, and its image's pixels count for the first of them.
    """

    item: Item
    pixels: int
    large: bool


class UploadPages:
    """Finds the pages of uploads, and keeps their PDFs.

    Args:
        decoders: count and measure the pages of PDFs
        resolution: dots per inch, for PDFs
        max_pixels: maximum pixels of one image
        folder: where PDFs are kept
    """

    def __init__(self, decoders: DecoderPool, resolution: int, max_pixels: int, folder: Path) -> None:
        self._decoders, self._resolution, self._max_pixels = decoders, resolution, max_pixels
        self._folder = folder
        self.documents: dict[int, Path] = {}

    def of(self, index: int, upload: Upload) -> list[Page]:
        """Return the pages of the upload with an index; raises ItemError if it is damaged or too large."""
        item = Item(str(index), upload.ticket.name)
        if upload.ticket.media_type != "application/pdf":
            pixels = pixels_of(upload.data)
            large = pixels is None or pixels > LARGE_PIXELS
            page = Page(item, self._max_pixels if pixels is None else pixels, large)
            return [page] if upload.ticket.regions is None else _regions(page, upload.ticket.regions)
        document = self._folder / f"{index}.pdf"
        document.write_bytes(upload.data)
        self.documents[index] = document
        sizes = enumerate(self._sizes(upload.ticket, document), 1)
        return [
            Page(msgspec.structs.replace(item, page=page), pixels, pixels > LARGE_PIXELS)
            for page, pixels in sizes
        ]

    def _sizes(self, ticket: Ticket, document: Path) -> tuple[int, ...]:
        """Return the pixels of each page of a PDF."""
        with self._decoders.lent() as decoder:
            count = decoder.page_count(document)
            if count > ticket.max_pages:
                raise ItemError(
                    ErrorCode.TOO_MANY_PIXELS,
                    f"the PDF has {counted(count, 'page')}, the limit is {ticket.max_pages:,}: "
                    "split it, raise TRACE_OCR_API_MAX_PAGES, or submit it as a job",
                )
            sizes = decoder.page_sizes(document, count, self._resolution)
        if ticket.max_pixels and sum(sizes) > ticket.max_pixels:
            raise ItemError(
                ErrorCode.TOO_MANY_PIXELS,
                f"the PDF's pages have {sum(sizes):,} pixels, the limit is {ticket.max_pixels:,}: lower "
                "pdf_resolution, split it, or submit it as a job",
            )
        return sizes


def portions(pages: Sequence[Page], max_pixels: int) -> Iterator[list[Page]]:
    """Yield the pages in order, in portions that have at most `max_pixels` together, or one page.

    Decoded pages wait in memory for their batch, so this bounds the memory of one reading.
    """
    portion: list[Page] = []
    pixels = 0
    for page in pages:
        if portion and pixels + page.pixels > max_pixels:
            yield portion
            portion, pixels = [], 0
        portion.append(page)
        pixels += page.pixels
    if portion:
        yield portion


def _regions(page: Page, regions: tuple[Region, ...]) -> list[Page]:
    """Return a page for each region. Regions of one URI are one decoding: two uploads may have one name."""
    item = msgspec.structs.replace(page.item, uri=f"{page.item.id}/{page.item.uri}")
    items = (msgspec.structs.replace(item, region=region) for region in regions)
    return [Page(item, 0 if number else page.pixels, page.large) for number, item in enumerate(items)]
