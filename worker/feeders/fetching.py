"""The files of a feeder's requests: with the request, read when they are needed, or fetched ahead."""

import contextlib
import itertools
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Literal

from contract.errors import ItemError
from contract.records import Item
from contract.settings import load_settings
from contract.storage import Storage
from contract.storage.roots import AllowedRoots
from worker.feeders.protocol import Feed, Request
from worker.images.decode import File
from worker.images.fetching import ItemFiles

FETCHED_BYTES = 4 << 20
"""Bytes of local files that are read before they are decoded: a thousand crops, or one large image. System
calls between two crops evict the decoder's data from the caches: reading together saves a third of it."""

AHEAD_BYTES = 64 << 20
"""Bytes of remote files that wait to be decoded; beyond that only the next one is fetched."""

RUNS = 4
"""Runs whose files are open: two chunks are read at once, and uploads."""

Fetched = tuple[Item, File | ItemError]
Counted = tuple[str, Literal["ok", "error", "retried"], int]


class Files:
    """The files of requests.

    Args:
        threads: remote files fetched at once
        max_bytes, max_document_bytes: maximum bytes of one file
    """

    def __init__(self, threads: int, max_bytes: int, max_document_bytes: int) -> None:
        self._threads, self._max_bytes, self._max_document_bytes = threads, max_bytes, max_document_bytes
        self._lock = threading.Lock()
        self._runs: OrderedDict[int, ItemFiles] = OrderedDict()
        self._storage: Storage | None = None
        self._counted: list[Counted] = []
        self._remote = RemoteFiles(threads)

    def ahead(self, request: Request) -> None:
        """Begin to fetch a request's remote files."""
        if request.feed.remote:
            self._remote.begin(self._opened(request.feed), request)

    @contextlib.contextmanager
    def of(self, request: Request, data: bytes) -> Iterator[tuple[Iterator[Fetched], list[float]]]:
        """Yield the items of a request with their files or errors, and the seconds that fetching took.

        Raises:
            StorageError: in the block; as `ItemFiles`, for an error that is no single item's
        """
        seconds: list[float] = []
        if request.sizes is not None:
            yield _given(request, data), seconds
        elif request.feed.remote:
            with self._remote.of(request, seconds) as files:
                yield files, seconds
        else:
            yield _read(self._opened(request.feed), request, seconds), seconds

    def requests(self) -> list[Counted]:
        """Return the requests to storage since the last call, for the metrics of the device process."""
        counted, self._counted = self._counted, []
        return counted

    def _opened(self, feed: Feed) -> ItemFiles:
        """Return the files of a run; those of the run used least recently are closed."""
        with self._lock:
            if feed.run not in self._runs:
                self._runs[feed.run] = self._files_of(feed)
                while len(self._runs) > RUNS:
                    self._runs.popitem(last=False)[1].__exit__(None, None, None)
            self._runs.move_to_end(feed.run)
            return self._runs[feed.run]

    def _files_of(self, feed: Feed) -> ItemFiles:
        if self._storage is None:
            self._storage = Storage(load_settings(), lambda *counted: self._counted.append(counted))
        return ItemFiles(
            self._storage,
            AllowedRoots.of_canonical(feed.roots or ()).for_one_chunk(),
            pages=False,
            attempt=feed.attempt,
            max_bytes=self._max_bytes,
            max_document_bytes=self._max_document_bytes,
        )


class RemoteFiles:
    """Files fetched by several threads before they are needed, up to AHEAD_BYTES.

    Args:
        threads: files fetched at once
    """

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._pool: ThreadPoolExecutor | None = None
        self._begun: dict[int, list[tuple[int, Item, Future[Fetched]]]] = {}
        self._changed = threading.Condition()
        self._next = self._needed = self._held = 0

    def begin(self, files: ItemFiles, request: Request) -> None:
        """Begin to fetch a request's files, in their order."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._threads, "fetch")
        begun = []
        for item in _items(request):
            self._next += 1
            future = self._pool.submit(self._fetched, files, item, self._next)
            begun.append((self._next, item, future))
        self._begun[id(request)] = begun

    @contextlib.contextmanager
    def of(self, request: Request, seconds: list[float]) -> Iterator[Iterator[Fetched]]:
        """Yield the items of a request with their files or errors; at the end the rest is dropped."""
        begun = deque(self._begun.pop(id(request)))
        try:
            yield self._taken(begun, seconds)
        finally:
            for _, _, future in begun:
                if not future.cancel():
                    future.add_done_callback(self._dropped)

    def _taken(
        self, begun: "deque[tuple[int, Item, Future[Fetched]]]", seconds: list[float]
    ) -> Iterator[Fetched]:
        while begun:
            number, _, future = begun.popleft()
            started = time.perf_counter()
            with self._changed:
                self._needed = max(self._needed, number)
                self._changed.notify_all()
            try:
                fetched = future.result()
            finally:
                self._dropped(future)
                seconds.append(time.perf_counter() - started)
            yield fetched

    def _fetched(self, files: ItemFiles, item: Item, number: int) -> Fetched:
        with self._changed:
            # Threads take items in their order, so the needed one always has a thread.
            self._changed.wait_for(lambda: self._held < AHEAD_BYTES or number <= self._needed)
        fetched = _file(files, item)
        with self._changed:
            self._held += _size(fetched)
        return fetched

    def _dropped(self, future: "Future[Fetched]") -> None:
        if future.cancelled() or future.exception():
            return
        with self._changed:
            self._held -= _size(future.result())
            self._changed.notify_all()


def _items(request: Request) -> Iterator[Item]:
    nothing = itertools.repeat(None)
    for uri, page in zip(request.uris, request.pages or nothing, strict=False):
        yield Item(uri, uri, page=page)


def _given(request: Request, data: bytes) -> Iterator[Fetched]:
    start = 0
    for item, size in zip(_items(request), request.sizes or (), strict=True):
        yield item, data[start : start + size]
        start += size


def _read(files: ItemFiles, request: Request, seconds: list[float]) -> Iterator[Fetched]:
    """Yield the items with their files, some read before the first of them is decoded."""
    fetched: list[Fetched] = []
    started, held = time.perf_counter(), 0
    for item, data in zip(_items(request), files.plain(request.uris), strict=True):
        fetched.append(_file(files, item) if data is None else (item, data))
        held += _size(fetched[-1])
        if held >= FETCHED_BYTES:
            seconds.append(time.perf_counter() - started)
            yield from fetched
            fetched, held, started = [], 0, time.perf_counter()
    seconds.append(time.perf_counter() - started)
    yield from fetched


def _file(files: ItemFiles, item: Item) -> Fetched:
    try:
        return item, files(item)
    except ItemError as error:
        return item, error


def _size(fetched: Fetched) -> int:
    return len(fetched[1]) if isinstance(fetched[1], bytes) else 0
