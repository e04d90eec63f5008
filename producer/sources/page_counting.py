"""The program of a child that counts pages: `python -P -m producer.sources.page_counting MAX_MEMORY`."""

import sys
import warnings
from pathlib import Path
from typing import Annotated

import msgspec
import pypdfium2

from contract.child_processes import serve
from contract.documents import HEAD_BYTES, MAX_PAGES, Content, content_of, page_count, tiff_pages
from contract.errors import ItemError
from contract.frames import Data
from producer.sources.document_blocks import BlockFile, MissingBlocksError


class Request(msgspec.Struct):
    """The document to count.

    Args:
        name: decides what it is if its content does not
        blocks: the numbers of its blocks that are in the file; None for all of it
    """

    path: str
    name: str = ""
    blocks: list[int] | None = None


class Reply(msgspec.Struct):
    """The document's number of pages; None if it cannot be opened, or not without the missing blocks."""

    pages: Annotated[int, msgspec.Meta(ge=0, le=MAX_PAGES)] | None
    missing: list[int] = []


def count(request: Request, _: Data) -> tuple[Reply, bytes]:
    """Return the reply for one document."""
    try:
        if request.blocks is not None:
            return _count_blocks(request, request.blocks), b""
        return Reply(page_count(Path(request.path))), b""
    except (ItemError, OSError, MemoryError):
        return Reply(None), b""


def _count_blocks(request: Request, blocks: list[int]) -> Reply:
    with BlockFile(request.path, blocks) as file:
        try:
            pages = _pages_in(file, request.name)
        except (pypdfium2.PdfiumError, ItemError, MissingBlocksError):
            pages = None
        # What is concluded without a part that was asked for is worth nothing.
        return Reply(None, file.missing) if file.missing else Reply(pages)


def _pages_in(file: BlockFile, name: str) -> int | None:
    content = content_of(file.read(HEAD_BYTES), name)
    file.seek(0)
    if content is Content.IMAGE:
        return 0
    if content is Content.TIFF:
        return _allowed(len(tiff_pages(file).offsets))
    with pypdfium2.PdfDocument(file) as document:
        return _allowed(len(document))


def _allowed(pages: int) -> int | None:
    return pages if 0 < pages <= MAX_PAGES else None


def main() -> None:
    """Serve until the planner closes the connection."""
    # The worker that reads the page reports damage in its error line; Pillow's warnings add nothing.
    warnings.simplefilter("ignore")
    serve(Request, count, int(sys.argv[1]))


if __name__ == "__main__":
    main()
