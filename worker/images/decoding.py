"""The decoding child's program: `python -P -m worker.images.decoding MAX_PIXELS MAX_MEMORY`."""

import sys
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from contract.child_processes import serve
from contract.documents import MAX_PAGES, POINTS_PER_INCH, has_forms, page_count
from contract.errors import ErrorCode, ItemError
from contract.frames import Data
from worker.images.decode import decode_crop, decode_image
from worker.images.documents import PageReader
from worker.kernels.pixels import Pixels

CHANNELS = 3
"""Bytes per pixel: RGB."""

_Side = Annotated[int, msgspec.Meta(gt=0)]


class Request(msgspec.Struct, frozen=True):
    """What to decode: an image whose bytes follow, or a page of a document.

    Args:
        kind: `sizes` asks for the pixels of pages 1 to `page` of a PDF
        path: of the document
        page: counted from 1; 0 asks for the number of pages
        resolution: dots per inch, for PDFs
        forms: draw the form fields of PDFs
    """

    kind: Literal["crop", "image", "page", "sizes"]
    path: str = ""
    page: int = 0
    resolution: int = POINTS_PER_INCH
    forms: bool = False

    @property
    def name(self) -> str:
        """The name of the request in messages."""
        if self.kind in ("crop", "image"):
            return "the image"
        return f"page {self.page}" if self.page else "the document"


class Reply(msgspec.Struct):
    """The child's answer: an image's shape, (height, width, 3), pages or their pixels, or an error.

    `forms` says whether a document has form fields.
    """

    shape: tuple[_Side, _Side, Literal[3]] | None = None
    pages: Annotated[int, msgspec.Meta(ge=0, le=MAX_PAGES)] = 0
    sizes: tuple[Annotated[int, msgspec.Meta(ge=0)], ...] = ()
    forms: bool = False
    note: str | None = None
    resolution: tuple[float, float] | None = None
    code: ErrorCode | None = None
    message: str = ""


class Decoding:
    """Answers requests, one at a time.

    Args:
        max_pixels: maximum pixels of one image
        max_memory: memory limit of this process in bytes, for the message
    """

    def __init__(self, max_pixels: int, max_memory: int) -> None:
        self._max_pixels, self._max_memory = max_pixels, max_memory
        self._documents = PageReader(max_pixels)

    def __call__(self, request: Request, data: Data) -> tuple[Reply, Pixels | bytes]:
        """Return the reply, and the pixels of an image."""
        try:
            return self._answer(request, data)
        except ItemError as error:
            return Reply(code=error.code, message=error.message), b""
        except MemoryError:
            message = f"decoding {request.name} needs more than {self._max_memory:,} bytes: save it smaller"
            return Reply(code=ErrorCode.WORKER_CRASHED, message=message), b""

    def _answer(self, request: Request, data: Data) -> tuple[Reply, Pixels | bytes]:
        path = Path(request.path)
        if request.kind == "sizes":
            return Reply(sizes=self._documents.sizes(path, request.page, request.resolution)), b""
        if request.kind == "page" and not request.page:
            return Reply(pages=page_count(path), forms=has_forms(path)), b""
        if request.kind == "page":
            image = self._documents.page(path, request.page, request.resolution, forms=request.forms)
        else:
            decode = decode_crop if request.kind == "crop" else decode_image
            image = decode(bytes(data), self._max_pixels)
        height, width, _ = image.pixels.shape
        reply = Reply(shape=(height, width, 3), note=image.note, resolution=image.resolution)
        return reply, image.pixels


def main() -> None:
    """Serve until the worker closes the connection."""
    max_pixels, max_memory = map(int, sys.argv[1:])
    serve(Request, Decoding(max_pixels, max_memory), max_memory)


if __name__ == "__main__":
    main()
