"""Whether storage answers: down if it says so, fails or hangs, and asked once at a time."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from producer.api.monitoring import storage_watch as module
from producer.api.monitoring.storage_watch import OLD_SECONDS, STORAGE_SECONDS, StorageWatch


def look(watch: StorageWatch) -> bool:
    """Look once the check that runs has ended."""
    if watch._asked:
        watch._asked.exception(60)
    return watch.last()


def test_storage_is_up_if_its_check_says_so() -> None:
    def fail() -> bool:
        raise OSError("gone")

    assert StorageWatch(lambda: True).up()
    assert not StorageWatch(lambda: False).up()
    assert not StorageWatch(fail).up()


@pytest.fixture
def hanging() -> Iterator[threading.Event]:
    release = threading.Event()
    yield release
    release.set()


def test_storage_that_hangs_is_down_and_checked_once_until_it_answers(
    hanging: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STORAGE_SECONDS", 0.01)
    asked: list[int] = []
    watch = StorageWatch(lambda: bool(asked.append(1) or hanging.wait(60)))

    answers = [watch.up(), watch.up()]
    monkeypatch.setattr(module, "STORAGE_SECONDS", 60)
    hanging.set()

    assert answers == [False, False]
    assert watch.up()
    assert len(asked) <= 2


def test_an_answer_is_kept_for_a_while_and_then_checked_again(
    clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module.time, "monotonic", clock)
    answers = iter([True, False])
    watch = StorageWatch(lambda: next(answers))

    assert [look(watch), look(watch), look(watch)] == [True, True, True]
    clock.now += OLD_SECONDS
    assert [look(watch), look(watch)] == [True, False]


def test_who_does_not_wait_sees_storage_down_while_it_hangs(
    hanging: threading.Event, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module.time, "monotonic", clock)
    watch = StorageWatch(lambda: hanging.wait(60))

    assert watch.last()
    clock.now += STORAGE_SECONDS + 1
    assert not watch.last()
    hanging.set()
    assert look(watch)
