"""The program of a child that counts pages: `python -P -m producer.sources.page_counting MAX_MEMORY`."""

import sys
import warnings
from pathlib import Path
from typing import Annotated

import msgspec

from contract.child_processes import serve
from contract.documents import MAX_PAGES, page_count
from contract.errors import ItemError
from contract.frames import Data


class Request(msgspec.Struct):
    """The document to count."""

    path: str


class Reply(msgspec.Struct):
    """The document's number of pages; None if it cannot be opened."""

    pages: Annotated[int, msgspec.Meta(ge=0, le=MAX_PAGES)] | None


def count(request: Request, _: Data) -> tuple[Reply, bytes]:
    """Return the reply for one document."""
    try:
        return Reply(page_count(Path(request.path))), b""
    except (ItemError, OSError, MemoryError):
        return Reply(None), b""


def main() -> None:
    """Serve until the planner closes the connection."""
    # The worker that reads the page reports damage in its error line; Pillow's warnings add nothing.
    warnings.simplefilter("ignore")
    serve(Request, count, int(sys.argv[1]))


if __name__ == "__main__":
    main()
