"""One page of a document to pixels, for reading and viewing."""

import math
from pathlib import Path
from typing import Any

from PIL import Image

from contract.documents import POINTS_PER_INCH, opened_frames, page_count
from contract.errors import ErrorCode, ItemError
from contract.images import check_pixels, upright_rgb


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


def read_frame(path: Path, number: int, max_pixels: int) -> Image.Image:
    """Return one page of a TIFF, counted from 1, as 8-bit RGB, upright; raises ItemError as `render`."""
    with opened_frames(path) as image:
        try:
            image.seek(number - 1)
        except EOFError as error:
            # Counted again: Pillow takes the last page that was requested for the last of the document.
            raise _no_such_page(number, page_count(path)) from error
        # Any exception: Pillow's plugins raise many types for damaged files.
        except Exception as error:
            raise _damaged_page(number, error) from error
        check_pixels(*image.size, max_pixels, f"page {number}: ")
        try:
            return upright_rgb(image)
        except MemoryError:
            raise
        # Any exception, as above.
        except Exception as error:
            raise _damaged_page(number, error) from error


def _no_such_page(number: int, pages: int) -> ItemError:
    return ItemError(
        ErrorCode.NO_SUCH_PAGE, f"the document has {pages:,} pages, and no page {number:,}: submit it again"
    )


def _damaged_page(number: int, error: Exception) -> ItemError:
    return ItemError(
        ErrorCode.DAMAGED_PAGE, f"page {number} cannot be read ({error}): save the document again"
    )
