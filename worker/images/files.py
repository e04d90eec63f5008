"""One chunk's files: from an item to its bytes, or to its document's place; and from there to its image."""

from dataclasses import dataclass
from pathlib import Path

from contract.errors import ErrorCode, ItemError
from contract.kinds.detection import PDF_RESOLUTION
from contract.records import Item
from worker.images.decode import DecodedImage, File, decode_crop, decode_image
from worker.images.decoding import Request
from worker.images.documents import read_page
from worker.images.isolation import CROP, IMAGE, DecoderPool


@dataclass(frozen=True)
class Decoding:
    """How a pipeline wants its items decoded.

    Args:
        pages: items are pages, not crops
        resolution: dots per inch, for PDFs
    """

    pages: bool
    resolution: int = PDF_RESOLUTION


class Decoder:
    """Decodes a chunk's images: in the calling thread, or in a child process where that is safer.

    Args:
        decoders: processes for PDFs, and for everything in careful mode
        max_pixels: of one image
        careful: the chunk's worker died the last time, so its images are not trusted
    """

    def __init__(self, decoders: DecoderPool, max_pixels: int, decoding: Decoding, *, careful: bool) -> None:
        self._decoders, self._max_pixels = decoders, max_pixels
        self._pages, self._resolution = decoding.pages, decoding.resolution
        self._careful = careful

    def __call__(self, item: Item, file: File) -> DecodedImage:
        """Return an item's image; raises ItemError if there is none to be had."""
        if isinstance(file, Path):
            return self._page(item, file)
        if self._careful:
            with self._decoders.lent() as decoder:
                return decoder.decode(IMAGE if self._pages else CROP, file)
        return (decode_image if self._pages else decode_crop)(file, self._max_pixels)

    def _page(self, item: Item, path: Path) -> DecodedImage:
        if item.page and path.suffix.lower() != ".pdf" and not self._careful:
            return read_page(path, item.page, self._max_pixels)
        with self._decoders.lent() as decoder:
            if item.page:
                return decoder.decode(Request("page", str(path), item.page, self._resolution))
            pages = decoder.page_count(path)
        raise ItemError(
            ErrorCode.DAMAGED_DOCUMENT,
            f"the document's pages could not be counted when the job was planned; now they are {pages:,}: "
            "submit it in a new job",
        )
