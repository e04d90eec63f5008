"""The failed items of a job, page by page: from the merged errors, or from the parts while it runs."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from contract.errors import ObjectMissingError, UsageError
from contract.job_status import FailedItem
from contract.records import part_outcome
from contract.workspace import Workspace, intact
from producer.results.line_index import mark_before

MAX_LINES = 20_000
"""Merged lines that one page looks through: a few megabytes, in a tenth of a second."""

MAX_PARTS = 32
"""Parts that one page reads: each is a request to remote storage, and has a thousand lines."""

EVERY = 1 << 30
"""More failed items than a part has."""


@dataclass(frozen=True)
class Failures:
    """Some failed items; with `has_more`, ask on after `next`, which may lead to an empty page."""

    data: list[FailedItem]
    has_more: bool
    next: str | None


def failures(workspace: Workspace, job: str, code: str | None, limit: int, after: str | None) -> Failures:
    """Return up to `limit` failed items of a code, or of any, after a page's `next`.

    While the job runs, the items of a chunk come once it is done; a merge begins the list again.

    Raises:
        UsageError: `after` is none of this list
        StorageError: the files cannot be read
    """
    merged = workspace.is_complete(job)
    place, skip = _parsed(after, "m" if merged else "p")
    look = _of_merged(workspace, skip) if merged else _of_parts(workspace, place, skip)
    found: list[FailedItem] = []
    for item, following in look:
        if item is None:
            return Failures(found, True, following)
        if code in (None, item.code):
            found.append(item)
            if len(found) == limit:
                return Failures(found, True, following)
    return Failures(found, False, None)


_Step = tuple[FailedItem | None, str]
"""A failed item, or None where a page ends, and what continues after it."""


def _of_merged(workspace: Workspace, skip: int) -> Iterator[_Step]:
    try:
        size = workspace.store.size(workspace.errors)
    except ObjectMissingError:
        return
    line, start = mark_before(workspace, workspace.errors, skip, size)
    with workspace.store.reader(workspace.errors, start) as stream, intact(workspace.errors):
        for number, text in enumerate(islice(stream, skip - line, None), skip + 1):
            [item] = part_outcome([text]).first_errors
            yield item, f"m.0.{number}"
            if number - skip == MAX_LINES:
                yield None, f"m.0.{number}"


def _of_parts(workspace: Workspace, first: int, skip: int) -> Iterator[_Step]:
    numbers = (number for number in workspace.part_numbers() if number >= first)
    for read, number in enumerate(numbers):
        if read == MAX_PARTS:
            yield None, f"p.{number}.0"
        uri = workspace.part(number)
        with intact(uri):
            items = part_outcome(workspace.lines(uri), EVERY).first_errors
        seen = skip if number == first else 0
        for place, item in enumerate(items[seen:], seen + 1):
            yield item, f"p.{number}.{place}"


def _parsed(after: str | None, kind: str) -> tuple[int, int]:
    if after is None:
        return 0, 0
    given, *numbers = after.split(".")
    if given != kind or len(numbers) != 2 or not all(number.isdecimal() for number in numbers):
        raise UsageError(
            "the list has begun again, since the job was merged or runs again: leave `after` out"
        )
    return int(numbers[0]), int(numbers[1])
