"""The watchdog: a chunk that makes no progress ends its process; one that does, or has ended, does not.

Only the watchdog's checks advance the clock; each test sets what happens before each check.
"""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest

from worker.monitoring import watchdog
from worker.monitoring.exits import STALLED_STATUS
from worker.monitoring.watchdog import LOOKS_PER_DEADLINE, Watchdog

SECONDS = 100.0
LOOK = SECONDS / LOOKS_PER_DEADLINE
NOTHING: Callable[[], None] = lambda: None  # noqa: E731 - a step in which nothing happens


class Scene:
    """A watchdog, and the time at which it ended the process."""

    def __init__(self, clock: Any) -> None:
        self.clock = clock
        self.stalled_at: list[float] = []
        self.dog = Watchdog(SECONDS, lambda: self.stalled_at.append(clock.now))

    def play(self, *steps: Callable[[], object]) -> None:
        """Let the watchdog look once after each step; a look comes a tenth of the deadline after the last."""
        remaining = iter(steps)

        def wait(timeout: float) -> bool:
            self.clock.now += timeout
            step = next(remaining, None)
            if step:
                step()
            return step is None

        self.dog._ended = SimpleNamespace(wait=wait)  # type: ignore[assignment]
        self.dog._watch()


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Scene:
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(watchdog, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return Scene(clock)


@pytest.fixture
def other_thread() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as threads:
        yield threads


def test_a_block_without_progress_ends_the_process_at_the_first_look_past_the_deadline(scene: Scene) -> None:
    with scene.dog.watching():
        scene.play(*[NOTHING] * 3 * LOOKS_PER_DEADLINE)

    assert scene.stalled_at == [SECONDS + LOOK]


def test_a_block_that_makes_progress_in_time_goes_on_however_long_it_takes(scene: Scene) -> None:
    with scene.dog.watching() as progress:
        scene.play(*[*[NOTHING] * (LOOKS_PER_DEADLINE - 1), progress] * 5)

    assert scene.stalled_at == []


def test_progress_moves_the_deadline_on_and_does_not_lift_it(scene: Scene) -> None:
    with scene.dog.watching() as progress:
        scene.play(*[NOTHING] * 4, progress, *[NOTHING] * 2 * LOOKS_PER_DEADLINE)

    assert scene.stalled_at == [5 * LOOK + SECONDS + LOOK]


@pytest.mark.parametrize("ending", [None, RuntimeError])
def test_a_block_that_has_ended_is_not_watched(scene: Scene, ending: type[Exception] | None) -> None:
    def block() -> None:
        with scene.dog.watching():
            if ending:
                raise ending

    if ending:
        with pytest.raises(ending):
            block()
    else:
        block()
    scene.play(*[NOTHING] * 3 * LOOKS_PER_DEADLINE)

    assert scene.stalled_at == []


def test_a_thread_that_outlives_its_block_does_not_have_it_watched_again(scene: Scene) -> None:
    # given a decoding thread that was still busy when its chunk was interrupted
    with scene.dog.watching() as progress:
        pass

    progress()

    assert scene.dog.progress_age() == 0
    scene.play(*[NOTHING] * 3 * LOOKS_PER_DEADLINE)
    assert scene.stalled_at == []


def test_a_process_without_a_chunk_idles_as_long_as_it_likes(scene: Scene) -> None:
    scene.play(*[NOTHING] * 3 * LOOKS_PER_DEADLINE)

    assert scene.stalled_at == []


def test_of_two_chunks_the_one_that_hangs_is_not_covered_by_the_other(
    scene: Scene, other_thread: ThreadPoolExecutor
) -> None:
    # given a second chunk in another thread, which goes on
    second = scene.dog.watching()
    progress = other_thread.submit(second.__enter__).result()

    # when the first one does not
    with scene.dog.watching():
        scene.play(*[progress] * 2 * LOOKS_PER_DEADLINE)

    assert scene.stalled_at == [SECONDS + LOOK]


def test_the_end_of_one_chunk_does_not_end_the_watch_over_the_other(
    scene: Scene, other_thread: ThreadPoolExecutor
) -> None:
    # given a second chunk, in another thread, that hangs
    second = scene.dog.watching()
    other_thread.submit(second.__enter__).result()

    # when the first one ends
    with scene.dog.watching():
        scene.play(*[NOTHING] * 2)
    scene.play(*[NOTHING] * 2 * LOOKS_PER_DEADLINE)

    assert len(scene.stalled_at) == 1


def test_the_thread_that_is_started_watches_and_a_closed_watchdog_ends() -> None:
    stalled = threading.Event()
    dog = Watchdog(0.01, stalled.set)
    dog.start()
    with dog.watching():
        assert stalled.wait(60)

    closed = Watchdog(SECONDS, pytest.fail)
    closed.close()
    closed._watch()  # returns


def test_a_stall_ends_the_process_at_once_with_the_stacks_and_a_status_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    done: list[object] = []
    monkeypatch.setattr(watchdog.faulthandler, "dump_traceback", lambda: done.append("stacks"))
    monkeypatch.setattr(watchdog.os, "_exit", done.append)

    Watchdog(SECONDS)._on_stall()

    assert done == ["stacks", STALLED_STATUS]


def test_the_age_of_progress_is_that_of_the_slowest_chunk_and_nothing_while_none_runs(
    scene: Scene, other_thread: ThreadPoolExecutor
) -> None:
    ages = [scene.dog.progress_age()]

    # given a chunk that moved 30 s ago, and one in another thread that moved 10 s ago
    with scene.dog.watching():
        scene.clock.now += 20
        second = scene.dog.watching()
        other_thread.submit(second.__enter__).result()
        scene.clock.now += 10
        ages.append(scene.dog.progress_age())
    ages.append(scene.dog.progress_age())
    other_thread.submit(second.__exit__, None, None, None).result()

    assert [*ages, scene.dog.progress_age()] == [0.0, 30.0, 10.0, 0.0]
