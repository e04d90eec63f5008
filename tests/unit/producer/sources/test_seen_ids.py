"""Ids seen before are found, even if hashes collide."""

from collections.abc import Iterator

import pytest

from producer.sources import seen_ids as module
from producer.sources.seen_ids import SeenIds


@pytest.fixture
def seen() -> Iterator[SeenIds]:
    with SeenIds() as ids:
        yield ids


@pytest.fixture
def colliding(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a hash that is the same for all ids."""
    monkeypatch.setattr(module, "hash", lambda _: 7, raising=False)


def test_a_new_id_is_new(seen: SeenIds) -> None:
    assert seen.add([("a", 1), ("b", 2)]) == {}
    assert seen.add([("c", 3)]) == {}


def test_an_id_of_an_earlier_block_is_found_with_its_line(seen: SeenIds) -> None:
    seen.add([("a", 1), ("b", 2)])
    seen.add([("c", 3)])

    assert seen.add([("d", 4), ("b", 5)]) == {5: 2}


def test_an_id_twice_in_one_block_is_found(seen: SeenIds) -> None:
    assert seen.add([("a", 1), ("b", 2), ("a", 3)]) == {3: 1}


def test_lines_may_be_missing_between(seen: SeenIds) -> None:
    # given a manifest with blank lines
    seen.add([("a", 2), ("b", 9)])

    assert seen.add([("c", 11), ("b", 30)]) == {30: 9}


@pytest.mark.usefixtures("colliding")
def test_ids_that_share_a_hash_are_distinguished(seen: SeenIds) -> None:
    assert seen.add([("a", 1), ("b", 2)]) == {}
    assert seen.add([("c", 3)]) == {}
    assert seen.add([("b", 4)]) == {4: 2}
    assert seen.add([("a", 5)]) == {5: 1}


def test_an_empty_block_changes_nothing(seen: SeenIds) -> None:
    assert seen.add([]) == {}


def test_ids_may_hold_anything(seen: SeenIds) -> None:
    odd = ["", "\0", "\0x", "é", "a\nb", "\ud7ff"]

    assert seen.add([(one, line) for line, one in enumerate(odd, start=1)]) == {}
    assert seen.add([("a\nb", 7)]) == {7: 5}
