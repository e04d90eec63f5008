"""Documents, files of many pages: which files are documents, how many pages they have, and their errors.

pdfium is not thread-safe, and damaged files have crashed it: producer and worker open PDFs only in child
processes, one file at a time.
"""

import contextlib
import os
import re
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any, BinaryIO

import pypdfium2

from contract import images, tiff
from contract.counting import counted
from contract.errors import ErrorCode, ItemError, NotAFileError
from contract.storage.opening import open_regular

EXTENSIONS = (".pdf", ".tif", ".tiff")

POINTS_PER_INCH = 72
"""PDF's unit of length."""

MAX_PAGES = 100_000
"""Maximum pages of one document: one that claims more is damaged or malicious."""

HEAD_BYTES = 1024
"""First bytes of a file that say what it is; Adobe's readers look for a PDF's header in as many."""

_PDF_HEADER = b"%PDF-"

_PNM = re.compile(rb"P[1-7fFy]\s")
"""The beginning of the PPM family's formats."""

_PAGE = re.compile(r"(?<=.)#page=[1-9][0-9]*\Z", re.DOTALL)

_FILE_ERROR = 2
"""FPDF_ERR_FILE of fpdfview.h: no file with that name."""

_PASSWORD_ERROR = 4
"""FPDF_ERR_PASSWORD of fpdfview.h."""


class Content(Enum):
    """What is in a file, whatever its name says."""

    PDF = "PDF"
    TIFF = "TIFF"
    IMAGE = "image"
    """One page, of any other format."""


def content_of(head: bytes, name: str) -> Content:
    """Return what is in a file.

    Args:
        head: its first HEAD_BYTES bytes
        name: decides if they do not
    """
    if head.startswith(tiff.SIGNATURES):
        return Content.TIFF
    if not head.startswith(_PDF_HEADER) and (head.startswith(images.SIGNATURES) or _PNM.match(head)):
        return Content.IMAGE
    if _PDF_HEADER in head[:HEAD_BYTES] or name.lower().endswith(".pdf"):
        return Content.PDF
    return Content.TIFF if is_document(name) else Content.IMAGE


def content_of_file(path: Path) -> Content:
    """Return what is in a local file; raises ItemError if it cannot be read."""
    with opened_file(path) as file:
        return content_of(file.read(HEAD_BYTES), path.name)


@contextlib.contextmanager
def opened_file(path: Path) -> Iterator[BinaryIO]:
    """Open a document's file for a block; raises ItemError if it cannot be read: it may be gone by now."""
    try:
        # The path was checked before: what is opened must be what it named then.
        descriptor, _ = open_regular(os.fspath(path))
        with os.fdopen(descriptor, "rb") as file:
            yield file
    except (OSError, NotAFileError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ItemError(
            ErrorCode.DAMAGED_DOCUMENT, f"the document's file cannot be read ({reason}): submit it again"
        ) from error


def is_document(name: str) -> bool:
    """Return whether a file is a document by its name; `content_of` knows better."""
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
    """Return how many pages a document has, without rendering any; 0 for an image, which is no document.

    A directory of a TIFF that cannot be read counts as a page.

    Raises:
        ItemError: the document is encrypted, damaged, empty, or has more than MAX_PAGES pages
    """
    count = _count(path)
    if count > MAX_PAGES:
        raise ItemError(
            ErrorCode.DAMAGED_DOCUMENT,
            f"the document claims {counted(count, 'page')}, the limit is {MAX_PAGES:,}: split it into "
            "several files",
        )
    return count


def _count(path: Path) -> int:
    content = content_of_file(path)
    if content is Content.PDF:
        with opened_pdf(path) as document:
            return len(document)
    if content is Content.IMAGE:
        return 0
    with opened_file(path) as file:
        return len(tiff_pages(file).offsets)


def has_forms(path: Path) -> bool:
    """Return whether a document is a PDF with form fields; raises ItemError as `page_count`."""
    if content_of_file(path) is not Content.PDF:
        return False
    with opened_pdf(path) as document:
        return bool(document.get_formtype() != pypdfium2.raw.FORMTYPE_NONE)


@contextlib.contextmanager
def opened_pdf(path: Path, *, forms: bool = False) -> Iterator[Any]:
    """Open a PDF as a pypdfium2.PdfDocument for a block.

    Args:
        forms: draw what is filled in its form fields, if it has any

    Raises:
        ItemError: the PDF is encrypted, empty, or damaged beyond what pdfium can repair
    """
    try:
        # pdfium keeps its last error, and sets none when it refuses an intact PDF without pages. So set the
        # last error to one that an existing file cannot cause.
        pypdfium2.raw.FPDF_LoadDocument(b"", None)
        document = _loaded(path)
        if forms:
            document.init_forms()
    except pypdfium2.PdfiumError as error:
        raise _unopened(error) from error
    try:
        yield document
    finally:
        document.close()


def tiff_pages(file: BinaryIO) -> tiff.Pages:
    """Return where a TIFF's pages are; raises ItemError if it has not even one that can be reached."""
    try:
        pages = tiff.pages_of(file, MAX_PAGES)
        if len(pages.offsets) == 1:
            tiff.directory_of(file, pages, 1)
    except (ValueError, IndexError) as error:
        raise ItemError(
            ErrorCode.DAMAGED_DOCUMENT,
            f"the TIFF cannot be opened ({error}): save it again from the original",
        ) from error
    return pages


def _loaded(path: Path) -> Any:
    """Return a pypdfium2.PdfDocument, as its constructor does; but that resolves the path again."""
    with opened_file(path) as file:
        opened = Path(f"/proc/self/fd/{file.fileno()}")
        handle = pypdfium2.raw.FPDF_LoadDocument(os.fsencode(opened if opened.exists() else path), None)
    if pypdfium2.raw.FPDF_GetPageCount(handle) < 1:
        code = pypdfium2.raw.FPDF_GetLastError()
        said = pypdfium2.internal.ErrorToStr.get(code)
        raise pypdfium2.PdfiumError(f"Failed to load document (PDFium: {said}).", err_code=code)
    return pypdfium2.PdfDocument(handle)


def _unopened(error: pypdfium2.PdfiumError) -> ItemError:
    if error.err_code == _PASSWORD_ERROR:
        return ItemError(ErrorCode.ENCRYPTED, "the PDF needs a password: save a copy without one")
    if error.err_code == _FILE_ERROR:
        return ItemError(ErrorCode.NO_PAGES, "the PDF has no pages: export it again, or leave it out")
    return ItemError(
        ErrorCode.DAMAGED_DOCUMENT, f"the PDF cannot be opened ({error}): save it again from the original"
    )
