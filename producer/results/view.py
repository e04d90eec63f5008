"""Pictures of items and of the pages that regions are on, as workers see them."""

import contextlib
from pathlib import Path
from types import TracebackType

from PIL import Image

from contract.documents import is_document
from contract.errors import ErrorCode, ItemError
from contract.images import decode_rgb
from contract.lines import ErrorLine
from contract.pages import WITHOUT_FORMS, TiffReader
from contract.records import Item
from contract.settings import Settings
from contract.shards.reading import file_of
from contract.storage import Storage
from contract.storage.roots import AllowedRoots
from producer.results.finding import Found
from producer.results.picturing import local_file, picture_of_page

NOT_OPENED = {
    ErrorCode.WORKER_CRASHED: "it crashed a worker's process",
    ErrorCode.TIMED_OUT: "it made a worker's process hang",
    ErrorCode.OUTSIDE_ALLOWED_ROOTS: "it is outside the worker's roots",
    ErrorCode.ACCESS_DENIED: "the worker may not read it",
    ErrorCode.NOT_A_FILE: "it is no regular file",
}
"""Why items with these errors are not opened here either."""


class Pictures:
    """Reads items' pictures as workers do, one at a time; a remote document is copied once for all its pages.

    For commands only: pdfium runs in this process.

    Args:
        resolution: dots per inch for PDF pages
        roots: the roots of the job's items; None if every file that the user may read is allowed
        forms: draw the form fields of PDFs
    """

    def __init__(
        self,
        storage: Storage,
        settings: Settings,
        resolution: int,
        roots: AllowedRoots | None = None,
        *,
        forms: bool = True,
    ) -> None:
        self._storage, self._settings, self._resolution = storage, settings, resolution
        self._roots, self._forms = roots, forms
        self._tiffs = TiffReader(settings.max_pixels)
        self._stack = contextlib.ExitStack()
        self._held: tuple[str, Path] | None = None

    def __enter__(self) -> "Pictures":
        return self

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        self._stack.close()

    def of(self, found: Found) -> Image.Image:
        """Return an item's image, RGB and upright; of a page with regions the page.

        Raises:
            StorageError, ItemError, OSError: the image cannot be read, or the worker did not open it for a
                reason that holds here too
        """
        item, lines = found.item, [one.line for one in (found, *found.regions)]
        for line in lines:
            if isinstance(line, ErrorLine) and line.error.code in NOT_OPENED:
                code = line.error.code
                raise ItemError(code, f"{NOT_OPENED[code]}, so it is not opened here")
        # A region need not say on which page of a document it is: it is on the first.
        if not item.page and not (found.regions and is_document(item.uri)):
            data = file_of(item, self._storage, self._roots, self._settings.max_bytes)
            return decode_rgb(data, self._settings.max_pixels).image
        # Fields that broke a worker's process could do the same here.
        forms = self._forms and all(getattr(line, "note", None) != WITHOUT_FORMS for line in lines)
        return self._page(self._path(item), item.page or 1, forms)

    def _page(self, path: Path, number: int, forms: bool) -> Image.Image:
        return picture_of_page(
            path, number, self._resolution, self._tiffs, self._settings.max_pixels, forms=forms
        )

    def _path(self, item: Item) -> Path:
        """Return the local path of a document; a document's pages are requested one after another."""
        if self._held and self._held[0] == item.address:
            return self._held[1]
        self._held = None
        self._stack.close()
        path = self._stack.enter_context(local_file(item, self._storage, self._settings, self._roots))
        self._held = item.address, path
        return path
