"""Work done ahead: in order, within its window, and never waited for by somebody who could do it."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from worker.pipeline.ahead import ahead


@pytest.fixture
def release() -> threading.Event:
    return threading.Event()


@pytest.fixture
def busy(release: threading.Event) -> Iterator[ThreadPoolExecutor]:
    """A pool whose one thread is busy until it is released."""
    begun = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        pool.submit(lambda: (begun.set(), release.wait(60)))
        assert begun.wait(30)
        yield pool
        release.set()


def test_results_come_in_the_order_of_their_values() -> None:
    with ThreadPoolExecutor(4) as pool:
        assert list(ahead(pool, lambda value: value * 2, range(100), 8)) == list(range(0, 200, 2))


def test_what_no_thread_has_begun_the_caller_does(busy: ThreadPoolExecutor) -> None:
    threads = list(ahead(busy, lambda _: threading.current_thread(), range(5), 2))

    assert threads == [threading.current_thread()] * 5


def test_values_are_taken_no_further_ahead_than_the_window(busy: ThreadPoolExecutor) -> None:
    taken: list[int] = []

    def values() -> Iterator[int]:
        for value in range(100):
            taken.append(value)
            yield value

    results = ahead(busy, lambda value: value, values(), 3)

    assert [next(results) for _ in range(5)] == [0, 1, 2, 3, 4]
    assert len(taken) == 5 + 3 - 1


def test_an_error_comes_in_its_values_place() -> None:
    def fail_at_two(value: int) -> int:
        if value == 2:
            raise ValueError("two")
        return value

    with ThreadPoolExecutor(2) as pool:
        results = ahead(pool, fail_at_two, range(5), 4)
        assert [next(results), next(results)] == [0, 1]
        with pytest.raises(ValueError, match="two"):
            next(results)


def test_what_is_left_when_the_caller_gives_up_is_not_begun(
    busy: ThreadPoolExecutor, release: threading.Event
) -> None:
    done: list[int] = []
    results = ahead(busy, done.append, range(10), 5)
    next(results)

    results.close()  # type: ignore[attr-defined]
    release.set()
    busy.shutdown(wait=True)

    assert done == [0]
