"""Stage 1 of page jobs: documents to their pages, counted ahead, in order, without rendering any."""

import multiprocessing
import resource
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import msgspec
import structlog

from contract.documents import is_document, page_count, page_id
from contract.errors import ItemError, StorageError, StorageUnavailableError
from contract.records import Item
from contract.storage import Storage
from contract.storage.roots import AllowedRoots
from producer.sources.base import Listing

COUNTED_AHEAD = 16
"""Documents being counted or waiting for their turn: those of S3 are copied here first, which is latency."""

PROCESSES = 4
"""Processes that count, at most: opening a document takes milliseconds."""

COUNT_SECONDS = 60.0
"""Longest wait for one document's count, its copy not included."""

COUNT_MEMORY = 2 << 30
"""Bytes that such a process may allocate."""


class PageCounter:
    """Counts the pages of documents, in processes: a damaged file may crash pdfium, which is not thread-safe.

    Args:
        roots: where documents may lie; None for a command, which may read what its user may
        max_bytes: of one document
    """

    def __init__(self, storage: Storage, roots: AllowedRoots | None, max_bytes: int) -> None:
        self._storage, self._roots, self._max_bytes = storage, roots, max_bytes
        self._lock = threading.Lock()
        self._processes = _make_processes(PROCESSES)

    def close(self) -> None:
        """End the processes."""
        self._processes.shutdown(cancel_futures=True)

    def count(self, uri: str) -> int | None:
        """Return how many pages the document has; None if it cannot be told, which its worker then explains.

        Raises:
            StorageUnavailableError: storage is away
        """
        try:
            if self._roots:
                self._roots.check(uri)
            if not 0 < self._storage.at(uri).size(uri) <= self._max_bytes:
                return None
            with self._storage.at(uri).local_copy(uri) as path:
                return self._counted(str(path))
        except StorageUnavailableError:
            raise
        except StorageError:
            return None

    def _counted(self, path: str) -> int | None:
        with self._lock:
            processes = self._processes
        try:
            return processes.submit(count_pages, path).result(COUNT_SECONDS)
        except (RuntimeError, CancelledError, TimeoutError):
            # Some document broke the processes, or another thread has just ended them over one: each document
            # that was in hand or waited is counted again, in a process for itself.
            with self._lock:
                if self._processes is processes:
                    _kill(processes)
                    self._processes = _make_processes(PROCESSES)
        alone = _make_processes(1)
        try:
            return alone.submit(count_pages, path).result(COUNT_SECONDS)
        except (BrokenProcessPool, TimeoutError):
            structlog.get_logger().warning("pages_not_counted", document=path)
            return None
        finally:
            _kill(alone)


def pages_of(listing: Listing, make_counter: Callable[[], PageCounter]) -> Listing:
    """Return the listing with each document replaced by its pages; what cannot be counted stays an item."""

    def items() -> Iterator[Item]:
        counter = make_counter()
        try:
            with ThreadPoolExecutor(COUNTED_AHEAD, thread_name_prefix="pages") as threads:
                for item, pages in _counted_ahead(listing, counter, threads):
                    yield from _pages(item, pages)
        finally:
            counter.close()

    return Listing(items(), listing.passed_over)


def count_pages(path: str) -> int | None:
    """Count in this process; None for a document that cannot be opened."""
    try:
        return page_count(Path(path))
    except (ItemError, OSError, MemoryError):
        return None


def _counted_ahead(
    listing: Listing, counter: PageCounter, threads: ThreadPoolExecutor
) -> Iterator[tuple[Item, int | None]]:
    """Yield each item with its pages, 0 for what is no document, in order."""
    pending: deque[tuple[Item, Future[int | None] | None]] = deque()

    def first() -> tuple[Item, int | None]:
        item, future = pending.popleft()
        return item, future.result() if future else 0

    for item in listing:
        pending.append((item, threads.submit(counter.count, item.uri) if is_document(item.uri) else None))
        while pending and (len(pending) > COUNTED_AHEAD or pending[0][1] is None or pending[0][1].done()):
            yield first()
    while pending:
        yield first()


def _pages(item: Item, pages: int | None) -> Iterator[Item]:
    if not pages:
        yield item
        return
    for page in range(1, pages + 1):
        yield msgspec.structs.replace(item, id=page_id(item.id, page), page=page)


def _make_processes(count: int) -> ProcessPoolExecutor:
    # Spawned, not forked: the command has threads.
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(count, context, initializer=_begin)


def _begin() -> None:
    resource.setrlimit(resource.RLIMIT_DATA, (COUNT_MEMORY, COUNT_MEMORY))
    # What Pillow warns of, the worker that reads the page says in its error line.
    warnings.simplefilter("ignore")


def _kill(processes: ProcessPoolExecutor) -> None:
    """End the processes at once: one of them may hang."""
    for process in list((processes._processes or {}).values()):
        process.kill()
    processes.shutdown(wait=False, cancel_futures=True)
