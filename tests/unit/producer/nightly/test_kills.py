"""Five nights over a source that grows, changes and shrinks, with a kill in each, at every write in turn."""

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from contract.storage import Storage
from producer.nightly.continuing import Choices
from producer.nightly.files import Nights
from tests.unit.producer.nightly.conftest import BROKEN, System

NIGHTS = [f"2026-11-2{night}" for night in range(5)]

WRITES = frozenset({"replace", "create", "exchange", "delete", "writer"})


class Killed(BaseException):
    """The process was killed."""


class KillingStore:
    """A store whose process is killed at one of its writes, before or after the write has its effect."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self.writes = 0
        self.fatal: int | None = None

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)
        if name not in WRITES:
            return method

        def write(*arguments: Any) -> Any:
            self.writes += 1
            if self.writes == self.fatal:
                raise Killed
            done = method(*arguments)
            if self.fatal is not None and self.writes == -self.fatal:
                raise Killed
            return done

        return write


def change(scans: Path, night: int, choice: random.Random) -> None:
    """Add, change, break and remove files; the content of each is the night in which it was written."""
    present = sorted(scans.iterdir())
    for path in choice.sample(present, len(present) // 4):
        path.unlink()
    for path in choice.sample(sorted(scans.iterdir()), len(present) // 4):
        path.write_bytes(BROKEN if choice.random() < 0.2 else str(night).encode())
    for number in choice.sample(range(30), 8):
        path = scans / f"{number}.png"
        if not path.exists():
            path.write_text(str(night))


def truth(scans: Path) -> tuple[dict[str, str], list[str]]:
    contents = {path.name: path.read_text() for path in sorted(scans.iterdir())}
    failed = [name for name, content in contents.items() if content == BROKEN.decode()]
    return {name: content for name, content in contents.items() if name not in failed}, failed


@pytest.mark.parametrize("seed", range(4))
def test_each_items_newest_content_is_there_once_and_was_read_once(
    seed: int, system: System, scans: Path, storage: Storage, tmp_path: Path
) -> None:
    # given a system that is killed at a write of each night, another one in each run
    choice = random.Random(seed)
    store = KillingStore(storage.at(str(tmp_path)))
    system = replace(
        system,
        nights=Nights(str(tmp_path / "nights"), store),  # type: ignore[arg-type]
        choices=Choices(on_delete="tombstone", may_shrink=True, attempts=1),
    )
    gone: set[str] = set()
    for number, night in enumerate(NIGHTS):
        before = set(truth(scans)[0]) | gone
        change(scans, number, choice)
        # when the night is killed at each of its writes, and repeated
        store.fatal, killed = 0, True
        while killed:
            store.writes, killed = 0, False
            store.fatal = (abs(store.fatal) + 1) * choice.choice((1, -1))
            try:
                system.night(night)
            except Killed:
                killed = True

        # then its lines are right, whatever was done twice
        expected, failed = truth(scans)
        gone = before - expected.keys() - set(failed)
        found = system.latest()
        assert {name: value for name, value in found.items() if value != "deleted"} == expected
        assert system.failed() == failed
        assert list(found) == sorted(found)
    # A part that was written is not read again; a chunk that was killed before that is.
    assert set(system.read.values()) <= {1, 2}


def test_nights_without_a_kill_read_each_new_or_changed_item_once(system: System, scans: Path) -> None:
    choice = random.Random(7)
    system.choices = Choices(attempts=1)
    for number, night in enumerate(NIGHTS):
        change(scans, number, choice)
        system.night(night)

    assert set(system.read.values()) == {1}
    assert {name: system.latest()[name] for name in truth(scans)[0]} == truth(scans)[0]
