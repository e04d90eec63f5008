"""Chunks have a share of a worker's time while uploads keep coming, and uploads keep a place of their own."""

from collections.abc import Callable

import pytest

from tests.unit.conftest import Clock
from worker.jobs.share import WINDOW_SECONDS, ChunkShare, Work

SHARE = 0.25

Spend = Callable[[Work, float], None]


@pytest.fixture
def share(clock: Clock) -> ChunkShare:
    return ChunkShare(SHARE, lambda: True, clock)


@pytest.fixture
def spend(share: ChunkShare, clock: Clock) -> Spend:
    """Spend seconds in one of the worker's places."""

    def spend(work: Work, seconds: float) -> None:
        with share.taken(work):
            clock.now += seconds

    return spend


def test_uploads_come_first_while_nothing_has_been_read(share: ChunkShare) -> None:
    assert not share.chunks_are_due()


def test_after_uploads_alone_a_chunk_is_due(share: ChunkShare, spend: Spend) -> None:
    spend("uploads", 1)

    assert share.chunks_are_due()


@pytest.mark.parametrize(("chunk", "uploads", "due"), [(9.9, 30, True), (10, 30, False), (30, 10, False)])
def test_a_chunk_is_due_below_the_share(
    chunk: float, uploads: float, due: bool, share: ChunkShare, spend: Spend
) -> None:
    spend("chunk", chunk)
    spend("uploads", uploads)

    assert share.chunks_are_due() is due


def test_while_a_chunk_runs_no_second_one_is_due_so_that_uploads_keep_their_place(
    share: ChunkShare, spend: Spend
) -> None:
    spend("uploads", 50)

    with share.taken("chunk"):
        assert not share.chunks_are_due()
    assert share.chunks_are_due()


def test_uploads_that_are_still_being_read_count_too(share: ChunkShare, clock: Clock) -> None:
    with share.taken("uploads"):
        clock.now += 1
        assert share.chunks_are_due()


def test_what_is_longer_ago_than_the_window_does_not_count(
    share: ChunkShare, spend: Spend, clock: Clock
) -> None:
    spend("chunk", 40)
    spend("uploads", 20)
    assert not share.chunks_are_due()

    spend("uploads", WINDOW_SECONDS - 10)

    assert share.chunks_are_due()


def test_without_a_share_uploads_always_come_first(clock: Clock) -> None:
    share = ChunkShare(0.0, lambda: True, clock)
    with share.taken("uploads"):
        clock.now += 50

    assert not share.chunks_are_due()


@pytest.mark.parametrize("waits", [True, False])
def test_uploads_end_for_a_chunk_that_waits_alone(waits: bool, clock: Clock) -> None:
    share = ChunkShare(SHARE, lambda: waits, clock)
    with share.taken("uploads"):
        clock.now += 1

    assert share.uploads_must_end() is waits


def test_over_a_long_time_chunks_get_their_share_and_uploads_the_rest(
    share: ChunkShare, clock: Clock
) -> None:
    """A worker of two places, with chunks of 20 s and uploads of 2 s without end."""
    ends: dict[str, float] = {"first": 0.0, "second": 0.0}
    running: dict[str, object] = {}
    chunk_seconds, longest_without_uploads = 0.0, 0.0
    while clock.now < 1_000 + 20 * WINDOW_SECONDS:
        for place in ends:
            if clock.now - 1_000 >= ends[place]:
                if place in running:
                    running.pop(place).__exit__(None, None, None)  # type: ignore[attr-defined]
                work: Work = "chunk" if share.chunks_are_due() else "uploads"
                running[place] = share.taken(work)
                running[place].__enter__()  # type: ignore[attr-defined]
                seconds = 20.0 if work == "chunk" else 2.0
                ends[place] = clock.now - 1_000 + seconds
                chunk_seconds += seconds if work == "chunk" else 0.0
        longest_without_uploads = max(longest_without_uploads, min(ends.values()) - (clock.now - 1_000))
        clock.now += 1.0

    assert chunk_seconds / (2 * 20 * WINDOW_SECONDS) == pytest.approx(SHARE, abs=0.06)
    assert longest_without_uploads <= 2.0
