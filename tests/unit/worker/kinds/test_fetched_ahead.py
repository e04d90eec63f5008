"""Files that threads fetch ahead: single ones each in a task of its own, small members of shards together."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any, cast

import pytest

from contract.errors import ErrorCode, ItemError
from contract.records import Item, Member
from worker.kinds.crops import FETCHED_TOGETHER, GROUP, fetched_ahead
from worker.pipeline.run import ChunkRun


class Threads(ThreadPoolExecutor):
    """Counts the tasks that are handed to it."""

    tasks = 0

    def submit(self, function: Callable[..., Any], /, *arguments: Any, **options: Any) -> "Future[Any]":
        self.tasks += 1
        return super().submit(function, *arguments, **options)


def member(number: int, size: int, form: str = "tar") -> Item:
    at = (number, number, 0, size) if form == "parquet" else (number, size)
    return Item(str(number), f"s3://b/a.{form}", member=Member(form, str(number), at))


OBJECTS = [Item(str(number), f"s3://b/{number}.png") for number in range(10)]
SMALL = [member(number, 2_000) for number in range(3 * GROUP)]
LARGE = [member(number, FETCHED_TOGETHER) for number in range(5)]
ROWS = [member(number, 100, "parquet") for number in range(5)]


@pytest.mark.parametrize(
    ("items", "tasks"),
    [
        (OBJECTS, 10),
        (SMALL, 3),
        (LARGE, 5),
        (ROWS, 5),
        ([*SMALL[:5], *OBJECTS, *SMALL[5:10]], 12),
        ([], 0),
    ],
    ids=["objects", "small members", "large members", "rows of unknown size", "mixed", "none"],
)
def test_only_small_members_of_shards_share_a_task(items: list[Item], tasks: int) -> None:
    refused = ItemError(ErrorCode.NOT_FOUND, "not there")

    def fetched(item: Item) -> bytes | ItemError:
        return refused if item.id == "3" else item.id.encode()

    run = cast("ChunkRun", SimpleNamespace(fetched=fetched, fetch_window=2))
    with Threads(2) as threads:
        found = list(fetched_ahead(items, run, threads))

    assert found == [(item, fetched(item)) for item in items]
    assert threads.tasks == tasks
