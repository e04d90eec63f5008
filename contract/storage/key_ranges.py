"""Ranges of the keys of a listing, and the pages of which they are listed."""

import operator
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from math import inf
from typing import Generic, TypeVar

REST_PAGES = 2
"""Pages that a range lists before another guess, after some that failed."""

NEVER = inf
"""A number of pages that no range reaches."""

T = TypeVar("T", bound=Sequence[object])


@dataclass(frozen=True)
class Page(Generic[T]):
    """One answer of the storage.

    Args:
        keys: all keys of the page, in order, also those that are no entries
        entries: what is yielded; the first field of each is its key
        more: what continues the listing; None at its end
    """

    keys: list[str]
    entries: list[T]
    more: str | None

    @property
    def in_order(self) -> bool:
        """Whether each key is greater than the one before it."""
        return all(map(operator.lt, self.keys, islice(self.keys, 1, None)))


@dataclass(eq=False)
class KeyRange(Generic[T]):
    """Keys after `last`, up to and including `end`; `pages` were listed and wait for their turn.

    One that `waits` could not be listed ahead, and is listed when its turn comes.
    """

    end: str | None
    first: str = ""
    last: str = ""
    more: str | None = None
    pages: deque[list[T]] = field(default_factory=deque)
    listed: int = 0
    rested_at: int = 0
    failed_guesses: int = 0
    stubborn_at: float = NEVER
    listing: bool = False
    splitting: bool = False
    done: bool = False
    waits: bool = False
    error: Exception | None = None

    def add(self, page: Page[T]) -> None:
        """Take a page that begins in this range; what lies behind the end is another range's."""
        if page.keys:
            self.first, self.last = page.keys[0], page.keys[-1]
        self.more = page.more
        self.listed += 1
        self.done = page.more is None
        entries = page.entries
        if self.end is not None and self.last > self.end:
            self.done = True
            entries = [entry for entry in entries if entry[0] <= self.end]  # type: ignore[operator]
        if entries:
            self.pages.append(entries)

    def rest(self, pages: int = REST_PAGES) -> None:
        """Try no split until more pages show what the keys are like."""
        self.rested_at = self.listed + pages
        self.failed_guesses = 0
