"""A listing by many at once: the same keys in the same order as one after the other, within bounds."""

import threading
import time
from bisect import bisect_right
from itertools import islice

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from contract.errors import StorageRefusedError, StorageUnavailableError
from contract.storage.key_ranges import Page
from contract.storage.parallel_listing import PAGES_PER_LISTER, listed_in_parallel

PREFIX = "crops/"
SECONDS = 60
"""Longest wait for what other threads do."""


class Bucket:
    """Sorted keys, listed in pages; `seen` are the requests, as (start after, continuation)."""

    def __init__(self, keys: list[str], page: int = 10) -> None:
        self.keys, self.page = keys, page
        self.seen: list[tuple[str | None, str | None]] = []

    def fetch(self, after: str | None, more: str | None) -> Page[tuple[str]]:
        self.seen.append((after, more))
        start = int(more) if more else bisect_right(self.keys, after) if after is not None else 0
        end = start + self.page
        keys = self.keys[start:end]
        return Page(keys, [(key,) for key in keys], str(end) if end < len(self.keys) else None)

    def listed(self, listers: int = 8) -> list[str]:
        return [key for (key,) in listed_in_parallel(self.fetch, len(PREFIX), listers)]


NUMBERED = [f"{PREFIX}2024/{number:09}.png" for number in range(3_000)]
FOLDERS = [f"{PREFIX}scan-{number // 30:05}/crop-{number % 30:03}.png" for number in range(3_000)]
SKEWED = sorted([f"{PREFIX}{name}/1.png" for name in "abcdefxyz"] + [f"{PREFIX}m/{key}" for key in NUMBERED])
NESTED = sorted(f"{PREFIX}{number}" for number in range(3_000))
"""Keys that begin other keys: the places where ranges are split are keys themselves."""

UNICODE = sorted(f"{PREFIX}{chr(0x4E00 + number % 997)}{chr(0x1F600 + number % 61)}" for number in range(997))

KEYS = st.lists(
    st.one_of(
        st.text("01/é漢", max_size=6),
        st.text(st.characters(exclude_categories=["Cs"]), max_size=4),
        st.from_regex(r"[a-c]/[0-9]{3}\.png", fullmatch=True),
    ),
    unique=True,
    max_size=120,
)


@settings(max_examples=150, deadline=None)
@given(KEYS, st.integers(1, 7), st.integers(1, 6))
@example(["", "/", "//", "a/", "a//", "a/\U0010ffff", "a/\U0010ffff\U0010ffff"], 1, 4)
def test_any_keys_come_as_from_one_lister(keys: list[str], page: int, listers: int) -> None:
    expected = sorted(PREFIX + key for key in keys)

    assert Bucket(expected, page).listed(listers) == expected


@pytest.mark.parametrize(
    "keys", [NUMBERED, FOLDERS, SKEWED, NESTED, UNICODE], ids=["flat", "tree", "skew", "nested", "unicode"]
)
def test_keys_of_every_form_are_listed_by_many_for_few_more_requests(keys: list[str]) -> None:
    bucket, lock, waiting, most = Bucket(keys), threading.Lock(), 0, 0

    def slow(after: str | None, more: str | None) -> Page[tuple[str]]:
        nonlocal waiting, most
        with lock:
            waiting += 1
            most = max(most, waiting)
        time.sleep(0.001)  # the network's latency, in which others ask
        with lock:
            waiting -= 1
            return bucket.fetch(after, more)

    listed = [key for (key,) in listed_in_parallel(slow, len(PREFIX), 8)]

    assert listed == keys
    assert 4 <= most <= 8
    assert len(bucket.seen) <= 1.7 * len(keys) / bucket.page


@pytest.mark.parametrize(("keys", "requests"), [(0, 1), (3, 1), (10, 1), (20, 3), (50, 9)])
def test_a_short_listing_costs_few_requests(keys: int, requests: int) -> None:
    bucket = Bucket(NUMBERED[:keys])

    assert bucket.listed() == NUMBERED[:keys]
    assert len(bucket.seen) <= requests


def test_the_first_page_is_asked_for_alone() -> None:
    bucket = Bucket(NUMBERED)

    assert len(list(islice(listed_in_parallel(bucket.fetch, len(PREFIX), 8), 10))) == 10
    assert bucket.seen == [(None, None)]


def test_pages_are_listed_ahead_of_a_reader_that_pauses_and_only_so_many() -> None:
    bucket, listers, lock, found = Bucket(NUMBERED, page=2), 4, threading.Lock(), set[str]()
    ahead = threading.Event()
    allowed = listers * PAGES_PER_LISTER

    def fetch(after: str | None, more: str | None) -> Page[tuple[str]]:
        with lock:
            page = bucket.fetch(after, more)
            found.update(page.keys)
            if len(found) >= allowed:
                ahead.set()
        return page

    most = 0
    for taken, _ in enumerate(listed_in_parallel(fetch, len(PREFIX), listers), 1):
        if taken == 200:
            assert ahead.wait(SECONDS)
        with lock:
            most = max(most, len(found) - taken)

    # One page of each lister may be on its way.
    assert most <= (allowed + listers) * bucket.page


def test_closing_ends_the_threads_and_asks_for_nothing_more() -> None:
    bucket, hold, asked = Bucket(NUMBERED), threading.Event(), threading.Semaphore(0)

    def held(after: str | None, more: str | None) -> Page[tuple[str]]:
        page = bucket.fetch(after, more)
        if len(bucket.seen) > 20:
            asked.release()
            assert hold.wait(SECONDS)
        return page

    before = set(threading.enumerate())
    listing = listed_in_parallel(held, len(PREFIX), 8)
    assert len(list(islice(listing, 20))) == 20
    assert asked.acquire(timeout=SECONDS)
    listing.close()
    at_close = len(bucket.seen)
    hold.set()
    for thread in set(threading.enumerate()) - before:
        thread.join(SECONDS)
        assert not thread.is_alive()

    assert len(bucket.seen) <= at_close + 8


def test_an_error_comes_after_the_keys_before_it() -> None:
    bucket = Bucket(NUMBERED)

    def failing(after: str | None, more: str | None) -> Page[tuple[str]]:
        page = bucket.fetch(after, more)
        if page.keys[0] > NUMBERED[1_499]:
            raise StorageUnavailableError("S3 is away")
        return page

    got: list[str] = []
    with pytest.raises(StorageUnavailableError, match="away"):
        got.extend(key for (key,) in listed_in_parallel(failing, len(PREFIX), 8))

    # extend() takes what came before the error.
    assert got == NUMBERED[: len(got)]
    assert 1_500 - bucket.page <= len(got) <= 1_500 + bucket.page


def test_what_fails_only_because_too_much_is_asked_at_once_is_asked_again() -> None:
    bucket, lock, running = Bucket(NUMBERED), threading.Lock(), []

    def busy(after: str | None, more: str | None) -> Page[tuple[str]]:
        with lock:
            running.append(more)
            if len(running) > 1:
                running.pop()
                raise StorageUnavailableError("slow down")
        page = bucket.fetch(after, more)
        with lock:
            running.remove(more)
        return page

    def steady(after: str | None, more: str | None) -> Page[tuple[str]]:
        # The head of the listing, which continues, is served in any case.
        return busy(after, more) if after is not None else bucket.fetch(after, more)

    assert [key for (key,) in listed_in_parallel(steady, len(PREFIX), 8)] == NUMBERED


def test_storage_that_does_not_know_where_to_start_is_listed_page_by_page() -> None:
    bucket = Bucket(NUMBERED)

    listed = listed_in_parallel(lambda _, more: bucket.fetch(None, more), len(PREFIX), 8)

    assert [key for (key,) in listed] == NUMBERED


def test_storage_that_lists_out_of_order_is_read_alone_or_refused_and_never_in_part() -> None:
    shuffled = [*NUMBERED[5:10], *NUMBERED[:5], *NUMBERED[10:]]
    later = [*NUMBERED[:2_005], *reversed(NUMBERED[2_005:2_010]), *NUMBERED[2_010:]]

    assert Bucket(shuffled).listed() == shuffled
    with pytest.raises(StorageRefusedError, match="TRACE_OCR_LIST_THREADS=1"):
        Bucket(later).listed()


def test_a_fault_of_ours_in_a_thread_ends_the_listing() -> None:
    bucket = Bucket(NUMBERED)

    def broken(after: str | None, more: str | None) -> Page[tuple[str]]:
        page = bucket.fetch(after, more)
        return page if len(bucket.seen) < 5 else Page(page.keys, None, page.more)  # type: ignore[arg-type]

    with pytest.raises(TypeError):
        list(listed_in_parallel(broken, len(PREFIX), 8))
