"""One sorted listing from many at once: key ranges are listed ahead, and yielded in order."""

import threading
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from math import ceil
from typing import Generic

from contract.errors import StorageRefusedError
from contract.storage.key_ranges import NEVER, KeyRange, Page, T
from contract.storage.split_keys import SplitKeys

PAGES_PER_LISTER = 8
"""Pages held for each lister, at most: with 32 listers and 1,000 keys a page, some 80 MB."""

RANGE_PAGES = 8
"""Pages held of one range: it is listed further, or split, when its turn comes nearer."""

MAX_FAILED_GUESSES = 4
"""Guesses in a row behind which there was nothing, before a range is listed on its own for a while."""

MIN_APART, MAX_APART, LISTED_APART = 2.0, 3.0, 50
"""Estimated pages of a range before a split, at least: more, the more pages were listed. Each range ends
within a page, which is then asked for twice; short listings have no long ranges."""

CALM_PAGES = 64
"""Pages after which one more page is asked for at once, where a failure has halved their number."""

Fetch = Callable[[str | None, str | None], Page[T]]
"""Lists a page: from its beginning, behind a key, or (second argument) where another page said `more`."""


def listed_in_parallel(fetch: Fetch[T], fixed: int, listers: int) -> Generator[T, None, None]:
    """Yield the entries of a sorted listing in its order; ends its threads when it is closed.

    The first page is listed alone: most listings have no other. Memory is bounded by `PAGES_PER_LISTER`.

    Args:
        fetch: called from several threads
        fixed: length of the prefix that all keys have
        listers: maximum number of pages asked for at once

    Raises:
        StorageRefusedError: the storage does not list in order; what `fetch` raises, after the entries before
    """
    page = fetch(None, None)
    yield from page.entries
    if page.more is None:
        return
    if listers == 1:
        while page.more is not None:
            page = fetch(None, page.more)
            yield from page.entries
        return
    listing = _Listing(fetch, fixed, listers, page)
    try:
        yield from listing.entries()
    finally:
        listing.close()


class _Listing(Generic[T]):
    """The ranges of a listing, in order; every method that touches them holds the lock."""

    def __init__(self, fetch: Fetch[T], fixed: int, listers: int, page: Page[T]) -> None:
        self._fetch, self._listers = fetch, listers
        self._keys = SplitKeys(fixed)
        self._changed = threading.Condition()
        self._threads = ThreadPoolExecutor(listers, thread_name_prefix="lister")
        self._running, self._held, self._listed = 0, 0, 1
        self._limit, self._closed = listers, False
        self._broken: BaseException | None = None
        self._splits = bool(page.keys) and page.in_order
        self._keys.learn(page.keys)
        whole: KeyRange[T] = KeyRange(None)
        whole.add(page)
        whole.pages.clear()  # yielded already
        self._ranges = [whole]

    def close(self) -> None:
        """Ask for no more pages; threads end with the answer that they wait for."""
        with self._changed:
            self._closed = True
        self._threads.shutdown(wait=False, cancel_futures=True)

    def entries(self) -> Iterator[T]:
        """Yield the entries of all ranges, in order."""
        while (page := self._next_page()) is not None:
            yield from page

    def _next_page(self) -> list[T] | None:
        with self._changed:
            while self._ranges:
                head = self._ranges[0]
                if self._broken is not None:
                    raise self._broken
                if head.pages:
                    self._held -= 1
                    page = head.pages.popleft()
                    self._start()
                    return page
                if head.done:
                    self._ranges.pop(0)
                    continue
                if head.error is not None:
                    raise head.error
                self._start()
                self._changed.wait()
        return None

    # what is done next

    def _start(self) -> None:
        """Give each idle thread something to do."""
        while not self._closed and self._running < self._limit and (task := self._next_task()) is not None:
            self._running += 1
            self._threads.submit(self._run, task)

    def _next_task(self) -> Callable[[], None] | None:
        """Return what is nearest to its turn: to list the next page of a range, else to split one."""
        going = [found for found in self._ranges if not found.done][: 2 * self._listers]
        for place, found in enumerate(going):
            if self._may_list(place, found):
                found.listing, found.waits = True, False
                return lambda: self._list(found)
        for place, found in enumerate(going):
            guess = self._guess(place, found)
            if guess is not None:
                found.splitting = True
                return lambda: self._split(found, guess)
        return None

    def _may_list(self, place: int, found: KeyRange[T]) -> bool:
        if found.listing or found.done or found.error is not None:
            return False
        if found is self._ranges[0] and not found.pages:
            return True
        return not found.waits and len(found.pages) < RANGE_PAGES and self._has_room(place)

    def _has_room(self, place: int) -> bool:
        """Return whether a range may hold one more page: the later its turn, the more room it leaves."""
        share = 1 - place / (2 * self._listers)
        return self._held + self._running < self._listers * PAGES_PER_LISTER * share

    def _guess(self, place: int, found: KeyRange[T]) -> str | None:
        resting = found.splitting or found.done or found.waits or found.listed < found.rested_at
        if resting or not self._splits or not self._has_room(place + 1):
            return None
        stubborn = found.listed >= found.stubborn_at
        guess = self._keys.guess(found.first, found.last, found.end, self._apart, stubborn=stubborn)
        if guess is None:
            found.rest(1)
        if guess is None and found.stubborn_at == NEVER:
            # Less than that seems to be left: if more pages come, the estimate was wrong.
            found.stubborn_at = found.listed + ceil(self._apart) + 1
        elif guess is not None:
            found.stubborn_at = NEVER
        return guess

    # tasks, each in a thread

    def _run(self, task: Callable[[], None]) -> None:
        try:
            task()
        except BaseException as error:
            with self._changed:
                self._broken = error
                self._changed.notify_all()

    def _list(self, found: KeyRange[T]) -> None:
        try:
            page = self._sorted(self._fetch(None, found.more))
        except Exception as error:
            with self._changed:
                if self._ranges[0] is found:
                    found.error = error
                found.waits = True
                self._calm()
                self._ended(found, "listing")
            return
        with self._changed:
            before = len(found.pages)
            found.add(page)
            self._held += len(found.pages) - before
            self._keys.learn(page.keys)
            self._ended(found, "listing")

    def _sorted(self, page: Page[T]) -> Page[T]:
        if self._splits and not page.in_order:
            raise StorageRefusedError(
                f"this storage does not list its keys in order ({page.keys[0]!r} is on a page out of order): "
                "set TRACE_OCR_LIST_THREADS=1"
            )
        return page

    def _split(self, found: KeyRange[T], guess: str) -> None:
        try:
            page = self._sorted(self._fetch(guess, None))
        except Exception:
            # The range is listed to its end in any case; if storage is away, that tells it.
            with self._changed:
                found.rest()
                self._calm()
                self._ended(found, "splitting")
            return
        with self._changed:
            if not found.done and found.last < guess:
                self._take(found, guess, page)
            self._ended(found, "splitting")

    @property
    def _apart(self) -> float:
        return min(MAX_APART, MIN_APART + self._listed / LISTED_APART)

    def _take(self, found: KeyRange[T], guess: str, page: Page[T]) -> None:
        """Split a range behind the guess; `page` begins there."""
        if page.keys and page.keys[0] <= guess:
            self._splits = False  # some S3-compatible storage does not know `start-after`
            return
        end, found.end = found.end, guess
        if not page.keys or (end is not None and page.keys[0] > end):
            found.failed_guesses += 1
            if found.failed_guesses >= MAX_FAILED_GUESSES:
                found.rest()
            return
        found.failed_guesses = 0
        behind: KeyRange[T] = KeyRange(end)
        behind.add(page)
        self._held += len(behind.pages)
        self._keys.learn(page.keys)
        self._ranges.insert(self._ranges.index(found) + 1, behind)

    def _calm(self) -> None:
        """Ask for half as many pages at once: the failure may be one of too many requests."""
        self._limit = max(1, self._limit // 2)

    def _ended(self, found: KeyRange[T], what: str) -> None:
        setattr(found, what, False)
        self._listed += 1
        self._running -= 1
        if self._limit < self._listers and self._listed % CALM_PAGES == 0:
            self._limit += 1
        self._start()
        self._changed.notify_all()
