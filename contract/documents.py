"""Documents, files of many pages: which those are, how many pages one has, and what may be wrong with it.

pdfium is not thread-safe, and damaged files have crashed it before: both sides open PDFs in processes of
their own only, one file at a time.
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
"""Pages of one document at most: what claims more is damaged, or made to do harm."""

_PAGE = re.compile(r"(?<=\.(?:pdf|tif))#page=[0-9]+$|(?<=\.tiff)#page=[0-9]+$", re.IGNORECASE)

_FILE_ERROR = 2
"""FPDF_ERR_FILE of fpdfview.h: no file of that name."""

_PASSWORD_ERROR = 4
"""FPDF_ERR_PASSWORD of fpdfview.h."""


def is_document(name: str) -> bool:
    """Return whether a file of that name may have more pages than one."""
    return name.lower().endswith(EXTENSIONS)


def page_id(identity: str, page: int) -> str:
    """Return the id of one page of a document, as RFC 8118 refers to it."""
    return f"{identity}#page={page}"


def document_of(identity: str) -> str:
    """Return the id of the document that a page's id names; an id without a page is the document's own."""
    return _PAGE.sub("", identity)


def page_count(path: Path) -> int:
    """Return how many pages a document has, without rendering any.

    A TIFF whose directories are damaged has one page more than can be reached: the one that is broken.

    Raises:
        ItemError: it is encrypted, damaged, empty, or has more than MAX_PAGES
    """
    if _is_pdf(path):
        with opened_pdf(path) as document:
            count = len(document)
    else:
        count = _count_frames(path)
    if count > MAX_PAGES:
        raise ItemError(
            ErrorCode.DAMAGED_DOCUMENT,
            f"the document claims {count:,} pages, and up to {MAX_PAGES:,} are read: save it anew in parts",
        )
    return count


@contextlib.contextmanager
def opened_pdf(path: Path) -> Iterator[Any]:
    """Open a PDF for a block; a pypdfium2.PdfDocument.

    Raises:
        ItemError: it is encrypted, or damaged beyond what pdfium mends
    """
    try:
        # pdfium keeps its last error, and sets none for a sound PDF without pages, which it does not open
        # either. So its last error is made one that no file on this machine can have.
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
    """Open a TIFF for a block; raises ItemError if it is none that can be opened."""
    # Our own limit applies, to each page and before decoding.
    Image.MAX_IMAGE_PIXELS = None
    try:
        image = Image.open(path, formats=["TIFF"])
    except MemoryError:
        raise
    # Any exception: Pillow's plugins raise whatever they trip over.
    except Exception as error:
        # Pillow's own words name the file: of an object on S3, a copy that is gone by then.
        reason = "no TIFF's header" if isinstance(error, UnidentifiedImageError) else error
        raise ItemError(
            ErrorCode.DAMAGED_DOCUMENT,
            f"the TIFF cannot be opened ({reason}): save it anew from its original",
        ) from error
    with image:
        yield image


def _unopened(error: pypdfium2.PdfiumError) -> ItemError:
    if error.err_code == _PASSWORD_ERROR:
        return ItemError(ErrorCode.ENCRYPTED, "the PDF asks for a password: save a copy without one")
    if error.err_code == _FILE_ERROR:
        return ItemError(ErrorCode.NO_PAGES, "the PDF has no pages: export it anew, or leave it out")
    return ItemError(
        ErrorCode.DAMAGED_DOCUMENT, f"the PDF cannot be opened ({error}): save it anew from its original"
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
