"""Step 1 of page jobs: split documents into pages, counted ahead and in order, without rendering them."""

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import msgspec
import structlog
import tenacity

from contract.child_processes import ChildPool, ChildProcess
from contract.cores import available_cores
from contract.documents import HEAD_BYTES, Content, content_of, is_document, page_id
from contract.errors import (
    ChildCrashedError,
    ChildTimedOutError,
    CredentialsError,
    ItemError,
    SourceError,
    StorageBusyError,
    StorageError,
    StorageUnavailableError,
)
from contract.records import Item
from contract.shards.reading import file_of
from contract.storage import Storage, Store, absolute, answers, is_remote
from contract.storage.base import temporary_file
from contract.storage.roots import AllowedRoots
from producer.sources.base import Listing
from producer.sources.document_blocks import BLOCK_BYTES, block_copy
from producer.sources.page_counting import Reply, Request
from producer.sources.seen_ids import PageIds

COUNTED_AHEAD = 16
"""Documents counted ahead of their turn, to hide latency."""

PROCESSES = 4
"""Maximum number of counting processes, one per core: to start one takes longer than to count a document."""

ATTEMPTS = 3
"""Tries of one document while storage fails on it; each try on S3 has retries of its own."""

MOST_BLOCKS = 16
"""Blocks of a document on S3 that are fetched to count its pages: most need two, long tables some more. One
that is not larger, or needs more, is copied whole."""

COPIED_BYTES = 1 << 30
"""Bytes of documents that are copied to this machine at once, to count their pages; a larger one is alone."""

COUNT_SECONDS = 60.0
"""Limit of one document's count, as `TimeLimit`, excluding its copy."""

COUNT_MEMORY = 2 << 30
"""Memory limit in bytes of one counting process."""


class PageCounter:
    """Counts pages in child processes: a damaged file may crash pdfium, and pdfium is not thread-safe.

    Args:
        roots: the roots of the job's items; None for a command, which may read all its user may
        max_bytes: size limit of one document, in bytes
    """

    def __init__(self, storage: Storage, roots: AllowedRoots | None, max_bytes: int) -> None:
        self._storage, self._roots, self._max_bytes = storage, roots, max_bytes
        self._copies = ByteBudget(COPIED_BYTES)
        self._children = ChildPool(
            lambda: ChildProcess("producer.sources.page_counting", COUNT_MEMORY),
            most=min(PROCESSES, available_cores()),
        )

    def close(self) -> None:
        """End the processes."""
        self._children.close()

    def count(self, item: Item) -> int | None:
        """Return the number of pages, 0 for an image; None if it cannot be counted: the worker then says why.

        What is no document by its name is looked at first: of an image, only its beginning is read.

        Raises:
            StorageUnavailableError: storage as a whole is unavailable
            SourceError: storage does not accept our credentials
        """
        try:
            return self._count(item)
        except CredentialsError as error:
            raise SourceError(f"the source's documents cannot be counted: {error}") from error
        except StorageBusyError:
            raise
        except StorageUnavailableError:
            if answers(self._storage.at(item.uri), item.uri):
                return None
            raise
        except (StorageError, ItemError):
            return None

    @tenacity.retry(
        retry=tenacity.retry_if_exception_type(StorageUnavailableError),
        stop=tenacity.stop_after_attempt(ATTEMPTS),
        wait=tenacity.wait_random_exponential(multiplier=0.2, max=2),
        reraise=True,
    )
    def _count(self, item: Item) -> int | None:
        if item.member is not None:
            return self._count_member(item)
        uri = item.uri
        location = self._roots.resolved(uri) if self._roots else absolute(uri)
        store = self._storage.at(location)
        if not is_document(uri) and _is_image(store, location):
            return 0
        size = store.size(location)
        if not 0 < size <= self._max_bytes:
            return None
        if is_remote(location) and size > MOST_BLOCKS * BLOCK_BYTES:
            reply = self._count_blocks(store, location, size)
            if not reply.missing:
                return reply.pages
        with self._copies.taken(size if is_remote(location) else 0), store.local_copy(location) as path:
            return self.count_file(str(path))

    def _count_blocks(self, store: Store, location: str, size: int) -> Reply:
        """Count pages with few blocks of a document; those that the reply still lacks are too many."""
        with block_copy(store, location, size) as copy:
            reply, wanted = Reply(None), copy.ends
            while wanted and len(copy.blocks) + len(wanted) <= MOST_BLOCKS:
                copy.fetch(wanted)
                reply = self._ask(Request(str(copy.path), location, sorted(copy.blocks)), location)
                wanted = copy.lacks(reply.missing)
            return reply

    def _count_member(self, item: Item) -> int | None:
        """Return the pages of a member of a shard. What is no document by its name is taken for an image."""
        if not is_document(item.name):
            return 0
        data = file_of(item, self._storage, self._roots, self._max_bytes)
        with temporary_file(data, item.name) as path:
            return self.count_file(str(path))

    def count_file(self, path: str) -> int | None:
        """Return the number of pages of a local file; None as for `count`."""
        return self._ask(Request(path), path).pages

    def _ask(self, request: Request, document: str) -> Reply:
        with self._children.lent() as child:
            try:
                return child.ask(request, Reply, COUNT_SECONDS)[0]
            except (ChildCrashedError, ChildTimedOutError) as error:
                structlog.get_logger().warning("pages_not_counted", document=document, error=str(error))
                return Reply(None)


class ByteBudget:
    """Bytes that several threads share; a thread waits until what it needs is free.

    Args:
        most: bytes that are in use at once; who needs more than that has them alone
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._used = 0
        self._freed = threading.Condition()

    @contextlib.contextmanager
    def taken(self, size: int) -> Iterator[None]:
        """Use `size` bytes within the block."""
        with self._freed:
            self._freed.wait_for(lambda: not self._used or self._used + size <= self._most)
            self._used += size
        try:
            yield
        finally:
            with self._freed:
                self._used -= size
                self._freed.notify_all()


def _is_image(store: Store, location: str) -> bool:
    # A local pipe or socket has no bytes, and reading from it would wait for some.
    if not is_remote(location) and not store.size(location):
        return True
    return content_of(store.read_range(location, 0, HEAD_BYTES), location) is Content.IMAGE


def pages_of(listing: Listing, make_counter: Callable[[], PageCounter]) -> Listing:
    """Return the listing with each document replaced by its pages; an uncountable document stays one item.

    Raises (while iterating):
        SourceError: an item is a region, or has the id of a page of another document; or as
            `PageCounter.count`
        StorageUnavailableError: as `PageCounter.count`
    """

    def items() -> Iterator[Item]:
        counter = make_counter()
        try:
            with ThreadPoolExecutor(COUNTED_AHEAD, thread_name_prefix="pages") as threads, PageIds() as ids:
                for item, pages in _counted_ahead(listing, counter, threads):
                    ids.check(item, has_pages=bool(pages))
                    yield from _pages(item, pages)
        finally:
            counter.close()

    return Listing(items(), listing.passed_over)


def _counted_ahead(
    listing: Listing, counter: PageCounter, threads: ThreadPoolExecutor
) -> Iterator[tuple[Item, int | None]]:
    """Yield each item with its number of pages, in order; 0 for an item that is not a document."""
    pending: deque[tuple[Item, Future[int | None]]] = deque()

    def first() -> tuple[Item, int | None]:
        item, future = pending.popleft()
        return item, future.result()

    def pages(item: Item) -> int | None:
        # An item that is a page already was counted by the job that chose it.
        return 0 if item.page else counter.count(item)

    for item in listing:
        if item.region is not None:
            raise SourceError(
                f"{item.id!r} is a region of a page, which recognition and compare jobs read: "
                "choose one of these kinds, or leave `region` out to read whole pages"
            )
        pending.append((item, threads.submit(pages, item)))
        while pending and (len(pending) > COUNTED_AHEAD or pending[0][1].done()):
            yield first()
    while pending:
        yield first()


def _pages(item: Item, pages: int | None) -> Iterator[Item]:
    if not pages:
        yield item
        return
    for page in range(1, pages + 1):
        yield msgspec.structs.replace(item, id=page_id(item.id, page), page=page)
