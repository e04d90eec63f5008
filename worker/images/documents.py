"""Read one page of a document as an RGB array, and keep its file on this machine while it is read."""

import contextlib
import threading
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from contract.documents import Content, content_of_file, opened_pdf
from contract.errors import ErrorCode, ItemError, TooManyBytesError
from contract.pages import TiffReader, pixels_of_page, render
from contract.records import Item
from contract.storage import Storage, is_remote
from contract.storage.base import temporary_file
from contract.storage.roots import AllowedRoots
from worker.images.decode import DecodedImage, as_decoded, as_item_errors


class PageReader:
    """Reads pages of documents, one at a time. Keeps the last one open: a chunk's pages are consecutive.

    Use it from one thread of a child process, since pdfium is not thread-safe.
    """

    def __init__(self, max_pixels: int) -> None:
        self._max_pixels = max_pixels
        self._tiffs = TiffReader(max_pixels)
        self._open = contextlib.ExitStack()
        self._opened: tuple[str, int, bool] | None = None
        self._document: Any = None

    def page(self, path: Path, number: int, resolution: int, *, forms: bool = False) -> DecodedImage:
        """Return page `number`, counted from 1, as RGB (height, width, 3) uint8.

        Args:
            resolution: dots per inch, for PDFs
            forms: draw the form fields of PDFs

        Raises:
            ItemError: the document or the page is damaged, or the page is larger than `max_pixels`
        """
        if content_of_file(path) is not Content.PDF:
            return as_decoded(self._tiffs.page(path, number))
        bitmap = render(self._pdf(path, forms), number, resolution, self._max_pixels)
        # A copy, so that the page's bitmap is freed.
        return DecodedImage(np.array(bitmap.to_numpy()[:, :, :3]))

    def sizes(self, path: Path, pages: int, resolution: int) -> tuple[int, ...]:
        """Return the pixels that pages 1 to `pages` of a PDF will have; raises ItemError as `page`."""
        document = self._pdf(path, forms=False)
        return tuple(pixels_of_page(document, number, resolution) for number in range(1, pages + 1))

    def _pdf(self, path: Path, forms: bool) -> Any:
        key = str(path), path.stat().st_mtime_ns, forms
        if key != self._opened:
            self._open.close()
            self._opened = None
            self._document = self._open.enter_context(opened_pdf(path, forms=forms))
            self._opened = key
        return self._document


class DocumentFiles:
    """The documents of one chunk as local files; remote ones are copied once, and removed at the end.

    Args:
        max_bytes: maximum size of one document
    """

    def __init__(self, storage: Storage, roots: AllowedRoots, max_bytes: int) -> None:
        self._storage, self._roots, self._max_bytes = storage, roots, max_bytes
        self._lock = threading.Lock()
        self._copies: dict[str, Path] = {}
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> "DocumentFiles":
        return self

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        self._stack.close()

    def path(self, uri: str) -> Path:
        """Return the local path of the document.

        Raises:
            ItemError: the document is missing, denied, outside the roots, empty, or too large
            StorageUnavailableError: storage cannot be reached; the chunk must be retried
        """
        with as_item_errors("TRACE_OCR_MAX_DOCUMENT_BYTES"), self._lock:
            location = self._roots.resolved(uri)
            if location in self._copies:
                return self._copies[location]
            store = self._storage.at(location)
            self._check_size(uri, store.size(location))
            if is_remote(location):
                self._copies[location] = self._stack.enter_context(store.local_copy(location))
                return self._copies[location]
            # A local file may change or disappear between two pages, so check it again for each page.
            with store.local_copy(location) as path:
                return path

    def copy_of(self, item: Item) -> Path | None:
        """Return the copy of a member of a shard, if there is one."""
        with self._lock:
            return self._copies.get(item.address)

    def kept(self, item: Item, data: bytes) -> Path:
        """Return a copy of a document that is a member of a shard, given its bytes.

        Raises:
            StorageUnavailableError: the folder for temporary files is full
        """
        with self._lock:
            if item.address not in self._copies:
                self._copies[item.address] = self._stack.enter_context(temporary_file(data, item.name))
            return self._copies[item.address]

    def _check_size(self, uri: str, size: int) -> None:
        if size > self._max_bytes:
            raise TooManyBytesError(f"{uri} is larger than {self._max_bytes:,} bytes")
        if not size:
            raise ItemError(ErrorCode.EMPTY_FILE, f"{uri} has zero bytes: was its upload cut off?")
