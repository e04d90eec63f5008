"""Decode the files of a chunk, in the calling thread or in a child process."""

from dataclasses import dataclass, replace
from pathlib import Path

from contract.documents import Content, content_of_file
from contract.errors import ErrorCode, ItemError
from contract.kinds.documents import PDF_RESOLUTION
from contract.pages import TiffReader
from contract.records import Item
from worker.images.decode import DecodedImage, File, as_decoded, decode_crop, decode_image
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


class Decoder:
    """Decodes a chunk's images: in the calling thread, or in a child process if that is safer.

    Args:
        decoders: child processes for PDFs, and for all images in careful mode
        max_pixels: maximum pixels of one image
        careful: a worker died in the chunk's last run, so decode its images in child processes
    """

    def __init__(self, decoders: DecoderPool, max_pixels: int, decoding: Decoding, *, careful: bool) -> None:
        self._decoders, self._max_pixels = decoders, max_pixels
        self._decoding, self._careful = decoding, careful
        self._tiffs = TiffReader(max_pixels)

    def __call__(self, item: Item, file: File) -> DecodedImage:
        """Return an item's image; raises ItemError if it cannot be decoded."""
        if isinstance(file, Path):
            return self._first_page(file) if item.region and not item.page else self._page(item, file)
        if item.page and item.page > 1:
            raise ItemError(ErrorCode.NO_SUCH_PAGE, f"the image is one page, and has no page {item.page:,}")
        page = self._decoding.pages or item.region is not None
        if self._careful:
            with self._decoders.lent() as decoder:
                return decoder.decode(IMAGE if page else CROP, file)
        return (decode_image if page else decode_crop)(file, self._max_pixels)

    def _first_page(self, path: Path) -> DecodedImage:
        """Return the page of a region that names none; the note says if the document has more."""
        with self._decoders.lent() as decoder:
            pages = decoder.page_count(path)
        image = self._page(Item("", str(path), page=1), path)
        return replace(image, note=f"first of {pages:,} pages") if pages > 1 else image

    def _page(self, item: Item, path: Path) -> DecodedImage:
        if item.page and not self._careful and content_of_file(path) is Content.TIFF:
            return as_decoded(self._tiffs.page(path, item.page))
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
