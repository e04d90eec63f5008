"""One page of a document to pixels, for reading and viewing."""

import math
import os
import threading
from pathlib import Path
from typing import Any, BinaryIO

from contract import tiff
from contract.counting import counted
from contract.documents import POINTS_PER_INCH, opened_file, tiff_pages
from contract.errors import ErrorCode, ItemError, UnsupportedImageError
from contract.images import Picture, believed, check_pixels, turned_by_quarter, unsupported
from contract.rgb import upright_rgb
from contract.tiff.reading import read_page

WITHOUT_FORMS = "form fields are left out: drawing them failed"
"""The note of a PDF's page that could be drawn without its form fields only."""


def render(document: Any, number: int, resolution: int, max_pixels: int) -> Any:
    """Return a page of an opened PDF as pypdfium2.PdfBitmap, RGB.

    Args:
        document: a pypdfium2.PdfDocument
        number: counted from 1
        resolution: dots per inch

    Raises:
        ItemError: the page is missing, damaged, or larger than `max_pixels`
    """
    if number > len(document):
        raise _no_such_page(number, len(document))
    try:
        page = document[number - 1]
        scale = resolution / POINTS_PER_INCH
        check_pixels(*_size(page, scale), max_pixels, f"page {number}: ")
        return page.render(scale=scale, rev_byteorder=True)
    except (ItemError, MemoryError):
        raise
    # Any exception: pypdfium2 raises its own error, ValueError or OSError for damaged pages.
    except Exception as error:
        raise _damaged_page(number, error) from error


def pixels_of_page(document: Any, number: int, resolution: int) -> int:
    """Return the pixels of a page of an opened PDF without rendering it; 0 for a damaged page."""
    try:
        width, height = _size(document[number - 1], resolution / POINTS_PER_INCH)
    # Any exception, as above; rendering the page says what is wrong.
    except Exception:
        return 0
    return width * height


def _size(page: Any, scale: float) -> tuple[int, int]:
    # Rounded as pypdfium2 does.
    width, height = (math.ceil(side * scale) for side in page.get_size())
    return width, height


class TiffReader:
    """Reads pages of TIFFs, in any thread. Keeps where the last document's pages are: chunks are consecutive.

    Args:
        max_pixels: maximum pixels of one page
    """

    def __init__(self, max_pixels: int) -> None:
        self._max_pixels = max_pixels
        self._lock = threading.Lock()
        self._known: tuple[tuple[str, int, int], tiff.Pages] | None = None

    def page(self, path: Path, number: int) -> Picture:
        """Return one page, counted from 1; raises ItemError as `render`, or if its kind is not supported."""
        with opened_file(path) as file:
            pages = self._pages(path, file)
            if number > len(pages.offsets):
                raise _no_such_page(number, len(pages.offsets))
            try:
                directory = tiff.directory_of(file, pages, number)
                check_pixels(*directory.size, self._max_pixels, f"page {number}: ")
                image = upright_rgb(read_page(file, directory))
            except (ItemError, MemoryError):
                raise
            except UnsupportedImageError as error:
                raise unsupported(f"page {number}", error) from error
            # Any exception: Pillow's plugins raise many types for damaged files.
            except Exception as error:
                raise _damaged_page(number, error) from error
        turned = turned_by_quarter(directory.orientation)
        return Picture(image, resolution=believed(directory.resolution, turned=turned))

    def _pages(self, path: Path, file: BinaryIO) -> tiff.Pages:
        found = os.fstat(file.fileno())
        key = str(path), found.st_mtime_ns, found.st_size
        with self._lock:
            if self._known is None or self._known[0] != key:
                self._known = key, tiff_pages(file)
            return self._known[1]


def _no_such_page(number: int, pages: int) -> ItemError:
    return ItemError(
        ErrorCode.NO_SUCH_PAGE,
        f"the document has {counted(pages, 'page')}, and no page {number:,}: submit it again",
    )


def _damaged_page(number: int, error: Exception) -> ItemError:
    return ItemError(
        ErrorCode.DAMAGED_PAGE, f"page {number} cannot be read ({error}): save the document again"
    )
