"""PDFs: how many pages there are, and one of them as pixels, through pdfium."""

import contextlib
import threading
from collections.abc import Iterator

import numpy as np
import pypdfium2

from contract.errors import ErrorCode, ItemError
from worker.decode import DecodedImage

SCALE = 2.0
"""Pixels per PDF point, docTR's own default for its documents: 144 dots per inch."""


class PdfReader:
    """Counts and renders pages, one at a time over the whole process: pdfium is not thread-safe."""

    def __init__(self, max_pixels: int) -> None:
        self._max_pixels = max_pixels
        self._lock = threading.Lock()

    def page_count(self, data: bytes) -> int:
        """Return the number of pages; raises ItemError if the file is no PDF that can be opened."""
        with self._lock, _opened(data) as document:
            return len(document)

    def page(self, data: bytes, number: int) -> DecodedImage:
        """Return page `number`, counted from 1, as RGB (height, width, 3) uint8.

        Raises:
            ItemError: the page is damaged, or larger than `max_pixels`
        """
        with self._lock, _opened(data) as document:
            page = document[number - 1]
            width, height = (round(side * SCALE) for side in page.get_size())
            if width * height > self._max_pixels:
                raise ItemError(
                    ErrorCode.TOO_MANY_PIXELS,
                    f"page {number} has {width} x {height} pixels, more than {self._max_pixels:,}: "
                    "raise TRACE_OCR_MAX_PIXELS if it is meant to be that large",
                )
            bitmap = page.render(scale=SCALE, rev_byteorder=True)
            # A copy: the bitmap's memory is pdfium's own, and goes with the document.
            return DecodedImage(np.array(bitmap.to_numpy()[:, :, :3]))


@contextlib.contextmanager
def _opened(data: bytes) -> Iterator[pypdfium2.PdfDocument]:
    try:
        document = pypdfium2.PdfDocument(data)
        try:
            yield document
        finally:
            document.close()
    except pypdfium2.PdfiumError as error:
        raise ItemError(
            ErrorCode.TRUNCATED, f"the PDF is damaged, encrypted or none at all ({error}): save it anew"
        ) from error
