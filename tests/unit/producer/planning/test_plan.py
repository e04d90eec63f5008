"""The plan: items to numbered chunks while the source is still being listed."""

import threading
from collections import Counter
from collections.abc import Iterator

import pytest

from contract.errors import SourceError, WorkspaceConflictError
from contract.job import Job, Plan
from contract.records import Item, decode_item
from contract.workspace import Workspace
from producer.planning import plan
from producer.planning.plan import OnChunk, chunks_of, write_chunk
from producer.planning.submit import finished
from producer.sources.base import Listing


def items(*ids: str) -> list[Item]:
    return [Item(identity, f"/crops/{identity}") for identity in ids]


def listing(*ids: str, passed_over: dict[str, int] | None = None) -> Listing:
    return Listing(iter(items(*ids)), Counter(passed_over or {}))


def ignore(chunk: int, planned: int, written: bool) -> None:
    """Ignore an announced chunk."""


def write_plan(job: Job, workspace: Workspace, listing: Listing, on_chunk: OnChunk) -> Plan:
    """Write a plan to its end."""
    return finished(plan.write_plan(job, workspace, listing, on_chunk))


def planned_ids(workspace: Workspace, number: int) -> list[str]:
    return [decode_item(line).id for line in workspace.lines(workspace.chunk(number))]


@pytest.mark.parametrize(("count", "expected"), [(0, []), (1, [1]), (2, [2]), (5, [2, 2, 1]), (6, [2, 2, 2])])
def test_all_chunks_but_the_last_are_full(count: int, expected: list[int]) -> None:
    assert [len(chunk) for chunk in chunks_of(items(*map(str, range(count))), 2)] == expected


def test_a_plan_is_written_in_source_order(job: Job, workspace: Workspace) -> None:
    plan = write_plan(job, workspace, listing("b", "a", "c", passed_over={"hidden": 2}), ignore)

    assert plan == Plan(chunks=2, items=3, passed_over={"hidden": 2})
    assert [planned_ids(workspace, number) for number in range(2)] == [["b", "a"], ["c"]]


def test_each_chunk_is_announced_once_it_is_durable(job: Job, workspace: Workspace) -> None:
    announced = []

    def on_chunk(chunk: int, planned: int, written: bool) -> None:
        announced.append((chunk, planned, workspace.store.exists(workspace.chunk(chunk))))

    write_plan(job, workspace, listing("a", "b", "c"), on_chunk)

    assert announced == [(0, 2, True), (1, 3, True)]


def test_the_first_chunk_is_announced_before_the_source_is_exhausted(job: Job, workspace: Workspace) -> None:
    announced: list[int] = []
    announced_when_listed: list[int] = []

    def endless_looking() -> Iterator[Item]:
        for item in items("a", "b", "c", "d", "e"):
            announced_when_listed.append(len(announced))
            yield item

    write_plan(
        job, workspace, Listing(endless_looking(), Counter()), lambda chunk, *_: announced.append(chunk)
    )

    assert announced_when_listed[:4] == [0, 0, 1, 1]


def test_a_plan_that_was_interrupted_is_continued_to_the_same_end(job: Job, workspace: Workspace) -> None:
    def broken() -> Iterator[Item]:
        yield from items("a", "b", "c")
        raise ConnectionError

    with pytest.raises(ConnectionError):
        write_plan(job, workspace, Listing(broken(), Counter()), ignore)

    plan = write_plan(job, workspace, listing("a", "b", "c", "d"), ignore)

    assert plan == Plan(chunks=2, items=4)
    assert [planned_ids(workspace, number) for number in range(2)] == [["a", "b"], ["c", "d"]]


@pytest.mark.parametrize(
    "changed",
    [
        ("0", "a", "b", "c", "d"),
        ("a", "c", "d"),
        ("a", "b", "c"),
        ("a", "b-renamed", "c", "d"),
        ("longer-name", "b", "c", "d"),
        ("a", "b"),
    ],
    ids=["one more", "one less", "shorter", "renamed", "longer", "a chunk less"],
)
def test_a_source_that_has_changed_since_is_refused(
    changed: tuple[str, ...], job: Job, workspace: Workspace
) -> None:
    write_plan(job, workspace, listing("a", "b", "c", "d"), ignore)

    with pytest.raises(WorkspaceConflictError, match="source has changed"):
        write_plan(job, workspace, listing(*changed), ignore)


def test_an_empty_source_is_an_error_that_says_what_was_passed_over(job: Job, workspace: Workspace) -> None:
    empty = listing(passed_over={"other_extension": 3, "hidden": 1})

    with pytest.raises(SourceError, match=r"holds no images \(passed over: 1 hidden, 3 other_extension\)"):
        write_plan(job, workspace, empty, ignore)


def test_chunks_that_six_digits_cannot_number_are_refused(
    job: Job, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("producer.planning.plan.MAX_CHUNKS", 1)

    with pytest.raises(SourceError, match="larger --chunk-size"):
        write_plan(job, workspace, listing("a", "b", "c"), ignore)


def test_chunks_are_written_at_once_and_announced_in_order(
    job: Job, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given storage in which the second chunk is durable only after the third
    third = threading.Event()

    def write(workspace: Workspace, number: int, chunk: list[Item]) -> bool:
        if number == 1:
            assert third.wait(30)
        if number == 2:
            third.set()
        return write_chunk(workspace, number, chunk)

    monkeypatch.setattr(plan, "write_chunk", write)
    announced: list[int] = []

    write_plan(job, workspace, listing(*"abcdef"), lambda chunk, *_: announced.append(chunk))

    assert announced == [0, 1, 2]


def test_items_yielded_before_a_source_fails_are_written_and_announced(
    job: Job, workspace: Workspace
) -> None:
    def failing() -> Iterator[Item]:
        yield from items(*"abcdef")
        raise SourceError("line 7 is malformed")

    announced: list[int] = []

    with pytest.raises(SourceError, match="line 7"):
        write_plan(job, workspace, Listing(failing(), Counter()), lambda chunk, *_: announced.append(chunk))

    assert announced == [0, 1, 2]
    assert workspace.chunk_numbers() == {0, 1, 2}
