"""Documents, files of many pages: which files are documents, how many pages they have, and their errors.

pdfium is not thread-safe, and damaged files have crashed it: producer and worker open PDFs only in child
processes, one file at a time.
"""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pypdfium2
from PIL import Image, UnidentifiedImageError

from contract.errors import ErrorCode, ItemError

EXTENSIONS = (".pdf", ".tif", ".tiff")

POINTS_PER_INCH = 72
"""PDF's unit of length."""

MAX_PAGES = 100_000
"""Maximum pages of one document: one that claims more is damaged or malicious."""

_PAGE = re.compile(r"(?<=.)#page=[1-9][0-9]*\Z", re.DOTALL)

_FILE_ERROR = 2
"""FPDF_ERR_FILE of fpdfview.h: no file with that name."""

_PASSWORD_ERROR = 4
"""FPDF_ERR_PASSWORD of fpdfview.h."""


def is_document(name: str) -> bool:
    """Return whether a file with that name may have more than one page."""
    return name.lower().endswith(EXTENSIONS)


def page_id(identity: str, page: int) -> str:
    """Return the id of one page of a document, with the fragment of RFC 8118."""
    return f"{identity}#page={page}"


def document_of(identity: str, page: int | None) -> str:
    """Return the id of the document that an item is a page of; of an item without a page, its own id."""
    return identity if page is None else identity.removesuffix(page_id("", page))


def claimed_document(identity: str) -> str | None:
    """Return the id of the document of which a page could have this id; None if no page has such an id."""
    found = _PAGE.search(identity)
    return identity[: found.start()] if found else None


def page_count(path: Path) -> int:
    """Return how many pages a document has, without rendering any.

    A TIFF with a damaged directory counts one page more than can be read: the damaged one.

    Raises:
        ItemError: the document is encrypted, damaged, empty, or has more than MAX_PAGES pages
    """
    if _is_pdf(path):
        with opened_pdf(path) as document:
            count = len(document)
    else:
        count = _count_frames(path)
    if count > MAX_PAGES:
        raise ItemError(
            ErrorCode.DAMAGED_DOCUMENT,
            f"the document claims {count:,} pages, the limit is {MAX_PAGES:,}: split it into several files",
        )
    return count


@contextlib.contextmanager
def opened_pdf(path: Path) -> Iterator[Any]:
    """Open a PDF as a pypdfium2.PdfDocument for a block.

    Raises:
        ItemError: the PDF is encrypted, empty, or damaged beyond what pdfium can repair
    """
    try:
        # pdfium keeps its last error, and sets none when it refuses an intact PDF without pages. So set the
        # last error to one that an existing file cannot cause.
        pypdfium2.raw.FPDF_LoadDocument(b"", None)
        document = pypdfium2.PdfDocument(path)
    except pypdfium2.PdfiumError as error:
        raise _unopened(error) from error
    try:
        yield document
    finally:
        document.close()


@contextlib.contextmanager
def opened_frames(path: Path) -> Iterator[Image.Image]:
    """Open a TIFF for a block; raises ItemError if it cannot be opened."""
    # max_pixels applies instead, to each page and before decoding.
    Image.MAX_IMAGE_PIXELS = None
    try:
        image = Image.open(path, formats=["TIFF"])
    except MemoryError:
        raise
    # Any exception: Pillow's plugins raise many types for damaged files.
    except Exception as error:
        # Pillow's message names the file, which is a removed temporary copy for an object on S3.
        reason = "no TIFF header" if isinstance(error, UnidentifiedImageError) else error
        raise ItemError(
            ErrorCode.DAMAGED_DOCUMENT,
            f"the TIFF cannot be opened ({reason}): save it again from the original",
        ) from error
    with image:
        yield image


def _unopened(error: pypdfium2.PdfiumError) -> ItemError:
    if error.err_code == _PASSWORD_ERROR:
        return ItemError(ErrorCode.ENCRYPTED, "the PDF needs a password: save a copy without one")
    if error.err_code == _FILE_ERROR:
        return ItemError(ErrorCode.NO_PAGES, "the PDF has no pages: export it again, or leave it out")
    return ItemError(
        ErrorCode.DAMAGED_DOCUMENT, f"the PDF cannot be opened ({error}): save it again from the original"
    )


def _is_pdf(path: Path) -> bool:
    return path.suffix.lower() == ".pdf"


def _count_frames(path: Path) -> int:
    with opened_frames(path) as image:
        for frame in range(MAX_PAGES + 1):
            try:
                image.seek(frame)
            except EOFError:
                return frame
            # Any exception, as above.
            except Exception:
                return frame + 1
    return MAX_PAGES + 1
