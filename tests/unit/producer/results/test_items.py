"""Results found by confidence, text, id and place in merged files, by ranged reads."""

import random
from typing import Any

import pytest

from contract.errors import ErrorCode, JobError, JobStateError, ObjectMissingError, UsageError
from contract.job import Job, Plan
from contract.lines import ErrorLine, Failure, RecognitionLine, encode_lines
from contract.records import Item
from contract.review import ReviewItem
from contract.storage import Storage
from contract.workspace import Workspace, open_workspace
from producer.results import order, order_writer, scanning
from producer.results.choice import ANY, Choice
from producer.results.items import Items
from producer.results.merge import merge
from producer.results.opening import OpenJobs
from producer.results.order import Order

HOSTILE = ['say "no"', "back\\slash", "line\nfeed", "\u2028", "<script>", "é", "\x00", ""]
CHUNK = 7


def outcome(number: int) -> Any:
    """Return the line of an item: every fifth one failed, and every ninth one has no text."""
    identity = f"cam{number % 3}/{number}.png"
    if number % 5 == 4:
        code = ErrorCode.TRUNCATED if number % 2 else ErrorCode.EMPTY_FILE
        return ErrorLine(identity, f"/crops/{identity}", Failure(code, "broken"), 1)
    value = HOSTILE[number % len(HOSTILE)]
    confidence = 0.0 if number % 9 == 0 else round(random.Random(number).random(), 2)
    return RecognitionLine(identity, f"{number}.png", value, confidence, label="truth")


OUTCOMES = [outcome(number) for number in range(100)]
READ = [one for one in OUTCOMES if isinstance(one, RecognitionLine)]


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given that few lines make several runs, each with several fences."""
    monkeypatch.setattr(order_writer, "RUN", 20)
    for module in (order, order_writer):
        monkeypatch.setattr(module, "STEP", 4)


@pytest.fixture
def items(workspace: Workspace, job: Job) -> Items:
    return merged(workspace, job)


def merged(workspace: Workspace, job: Job) -> Items:
    """Return the items of a merged job, some of which failed."""
    for chunk, first in enumerate(range(0, len(OUTCOMES), CHUNK)):
        lines = OUTCOMES[first : first + CHUNK]
        workspace.store.replace(workspace.part(chunk), encode_lines(lines))
        found = [Item(line.id, f"/crops/{line.id}") for line in lines]
        workspace.store.replace(workspace.chunk(chunk), encode_lines(found))
    plan = Plan(chunks=chunk + 1, items=len(OUTCOMES))
    planned = job.model_copy(update={"plan": plan, "chunk_size": CHUNK})
    workspace.save_job(planned)
    merge(planned, workspace)
    return Items(workspace, planned, Order(workspace.store, workspace.order))


def listed(items: Items, choice: Choice, count: int = 7) -> list[ReviewItem]:
    """Return all items of a choice, page by page."""
    found: list[ReviewItem] = []
    page = items.page(choice, count)
    while page.cursor:
        found += page.data
        page = items.page(choice, count, page.cursor)
    return [*found, *page.data]


@pytest.mark.parametrize(
    ("at_least", "below"), [(None, None), (None, 0.5), (0.5, None), (0.25, 0.75), (0.5, 0.5)]
)
def test_pages_list_results_by_confidence(items: Items, at_least: float | None, below: float | None) -> None:
    found = listed(items, Choice(below, at_least))

    expected = [one for one in READ if (at_least or 0) <= one.confidence < (2 if below is None else below)]
    expected.sort(key=lambda one: one.confidence)
    assert [one.id for one in found] == [one.id for one in expected]
    assert {(one.id, one.value, one.label) for one in found} == {
        (one.id, one.value, "truth") for one in expected
    }


@pytest.mark.usefixtures("s3_bucket")
def test_results_on_s3_are_listed_too(storage: Storage, job: Job) -> None:
    items = merged(open_workspace("s3://bucket/out", storage), job)

    assert [one.id for one in listed(items, Choice(id="cam2"))] == [
        one.id for one in READ if one.id.startswith("cam2")
    ]
    assert len(listed(items, Choice(below=0.5), 30)) == sum(one.confidence < 0.5 for one in READ)


def test_each_item_says_its_place_in_the_job(items: Items) -> None:
    for choice in (Choice(), Choice(source_order=True), Choice(code=ANY)):
        for one in listed(items, choice):
            assert items.workspace.items(one.chunk)[one.index].id == one.id
            assert items.at(one.chunk, one.index) == one


@pytest.mark.parametrize("text", [text for text in HOSTILE if text])
def test_a_search_finds_texts_that_json_escapes(items: Items, text: str) -> None:
    found = listed(items, Choice(text=text))

    assert found
    assert [one.id for one in found] == [one.id for one in READ if text in one.value]


def test_a_search_is_not_misled_by_escapes(items: Items) -> None:
    # "\n" is written as a backslash and an n
    assert not [one for one in listed(items, Choice(text="n")) if "n" not in one.value]


def test_items_are_found_by_the_beginning_of_their_id(items: Items) -> None:
    found = listed(items, Choice(id="cam1/1", below=0.5))

    expected = [one.id for one in READ if one.id.startswith("cam1/1") and one.confidence < 0.5]
    assert [one.id for one in found] == expected


@pytest.mark.parametrize("code", ["truncated", "empty_file", ANY, "not_a_file"])
def test_failed_items_are_found_by_their_code(items: Items, code: str) -> None:
    found = listed(items, Choice(code=code))

    failed = [one for one in OUTCOMES if isinstance(one, ErrorLine) and code in (ANY, one.error.code)]
    assert [(one.id, one.error and one.error.code) for one in found] == [
        (one.id, one.error.code) for one in failed
    ]


def test_a_search_looks_at_a_bounded_part(items: Items, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scanning, "SCAN_BYTES", 300)
    monkeypatch.setattr(scanning, "BLOCK", 100)

    page = items.page(Choice(text="nowhere"), 7)

    assert (page.data, page.cursor is not None) == ((), True)
    assert page.searched is not None
    assert page.searched < 0.2
    assert listed(items, Choice(text="<script>")) == [
        one for one in listed(items, Choice(source_order=True)) if one.value == "<script>"
    ]


@pytest.mark.parametrize(
    "cursor", ["", "x", "@", "@-1", "1-", "-1", "@" + "f" * 17, "1" * 9 + "-0", "@1", "0-0"]
)
def test_a_cursor_of_something_else_is_refused(items: Items, cursor: str) -> None:
    ours = Choice(source_order=not cursor.startswith("@"))

    with pytest.raises(UsageError, match="no cursor"):
        items.page(ours, 5, cursor)


@pytest.mark.parametrize("position", ["@1", "@ffffffffffffffff"])
def test_a_cursor_within_a_line_goes_on_at_the_next(items: Items, position: str) -> None:
    found = items.page(Choice(source_order=True), 100, position).data

    assert [one.id for one in found] == ([one.id for one in READ[1:]] if position == "@1" else [])


@pytest.mark.parametrize(("chunk", "index"), [(0, 7), (99, 0), (14, 2)])
def test_there_is_no_item_outside_the_job(items: Items, chunk: int, index: int) -> None:
    with pytest.raises(ObjectMissingError):
        items.at(chunk, index)


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-9], lambda data: data[8:], lambda _: b"", lambda _: b"x" * 50]
)
def test_a_damaged_index_is_an_error(items: Items, damage: Any) -> None:
    store, uri = items.workspace.store, items.workspace.order
    store.replace(uri, damage(store.read(uri, 1 << 20)))

    with pytest.raises(JobError, match="merge the job again"):
        Order(store, uri)


def test_a_job_of_an_older_version_has_no_index(items: Items) -> None:
    items.workspace.store.delete(items.workspace.order)

    with pytest.raises(JobStateError, match="merge it again"):
        OpenJobs().order(items.workspace, items.job)


def test_an_index_is_opened_again_once_the_job_is_merged_again(items: Items) -> None:
    opened = OpenJobs()
    first = opened.order(items.workspace, items.job)

    assert opened.order(items.workspace, items.job) is first
    merge(items.job, items.workspace)
    assert opened.order(items.workspace, items.job) is not first
