"""Lines that an earlier job has read of the same content."""

from collections import Counter
from typing import Any

import msgspec
import pytest

from contract.errors import UsageError
from contract.job import Job, Plan
from contract.lines import ErrorLine, Failure, RecognitionLine, encode_lines
from contract.records import ChunkStatistics, Item
from contract.workspace import Workspace
from producer.planning.reuse import reusing, with_reuse
from producer.results.merge import merge
from producer.sources.base import Listing

MODEL = {"architecture": "crnn", "weights_sha256": "0a1b"}
ITEMS = [
    Item("a.png", "/old/a.png", fingerprint="A+1"),
    Item("b.png", "/old/b.png", fingerprint="B+1"),
    Item("c.png", "/old/c.png"),
]
LINES = [
    RecognitionLine("a.png", "a.png", "one", 0.12345678901234568, label="1"),
    ErrorLine("b.png", "/old/b.png", Failure("not_an_image", "no image"), 1),  # type: ignore[arg-type]
    RecognitionLine("c.png", "c.png", "three", 0.5),
]


@pytest.fixture
def earlier(job: Job, workspace: Workspace) -> Workspace:
    """Given a complete job of three items with fingerprints, one of which failed."""
    source = job.source.model_copy(update={"changed": "sha256"})
    job = job.model_copy(update={"source": source, "chunk_size": 3, "plan": Plan(chunks=1, items=3)})
    workspace.save_job(job)
    workspace.store.create(workspace.chunk(0), encode_lines(ITEMS))
    workspace.store.create(workspace.part(0), encode_lines(LINES))
    statistics = ChunkStatistics(2, 1, 1.0, {}, 1, 1.0, models=(MODEL,))
    workspace.store.create(workspace.statistics(0), msgspec.json.encode(statistics))
    merge(job, workspace)
    return workspace


def reused(earlier: Workspace, *items: Item) -> list[str | None]:
    return [item.reused for item in reusing(Listing(iter(items), Counter()), lambda: earlier)]


def test_the_metadata_of_an_earlier_item_is_not_taken_over(earlier: Workspace) -> None:
    line = {**msgspec.json.decode(msgspec.json.encode(LINES[0])), "metadata": {"night": 1}}
    earlier.store.replace(earlier.part(0), encode_lines([line, *LINES[1:]]))
    same = msgspec.structs.replace(ITEMS[0], label="1", metadata=msgspec.Raw(b'{"night":2}'))

    (taken,) = reused(earlier, same)

    assert taken is not None
    assert "metadata" not in msgspec.json.decode(taken)


def test_the_line_of_the_same_content_is_found_under_any_name(earlier: Workspace) -> None:
    same = msgspec.structs.replace(ITEMS[0], label="1")
    renamed = Item("x/y.png", "s3://new/x/y.png", fingerprint="A+1")

    lines = reused(earlier, same, renamed)

    assert (
        lines[0] == '{"id":"a.png","name":"a.png","value":"one","confidence":0.12345678901234568,"label":"1"}'
    )
    assert lines[1] == '{"id":"x/y.png","name":"y.png","value":"one","confidence":0.12345678901234568}'


@pytest.mark.parametrize(
    "item",
    [
        Item("a.png", "/old/a.png", fingerprint="Z+1"),
        Item("a.png", "/old/a.png"),
        Item("a.png#page=1", "/old/a.png", page=1, fingerprint="A+1"),
        msgspec.structs.replace(ITEMS[1]),
        ITEMS[2],
    ],
    ids=["other content", "no fingerprint", "a page of it", "failed", "no fingerprint then"],
)
def test_other_items_are_read(item: Item, earlier: Workspace) -> None:
    assert reused(earlier, item) == [None]


def test_the_job_takes_over_the_fingerprint_and_the_models(earlier: Workspace, job: Job) -> None:
    wanted = with_reuse(job, earlier)

    assert wanted.source.changed == "sha256"
    assert wanted.reuse is not None
    assert (wanted.reuse.workspace, wanted.reuse.models) == (earlier.root, (MODEL,))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"kind": "ocr"}, "it is a recognition job"),
        ({"parameters": {"characters": "digits"}}, "its parameters are others"),
        ({"source": {"changed": "etag"}}, "its fingerprints are sha256"),
    ],
)
def test_a_job_that_asks_something_else_is_refused(
    change: dict[str, Any], said: str, earlier: Workspace, job: Job
) -> None:
    given = job.model_dump(mode="json")
    for name, value in change.items():
        given[name] = {**given[name], **value} if isinstance(value, dict) else value
    if "kind" in change:
        given["parameters"] = {}

    with pytest.raises(UsageError, match=said):
        with_reuse(Job.model_validate(given), earlier)


@pytest.mark.parametrize(
    ("changed", "said"), [(None, "--changed sha256"), ("mtime+size", "--changed sha256")]
)
def test_a_job_without_fingerprints_of_content_is_refused(
    changed: str | None, said: str, earlier: Workspace, job: Job
) -> None:
    source = job.source.model_copy(update={"changed": changed})
    earlier.update_job(lambda current: current.model_copy(update={"source": source}))

    with pytest.raises(UsageError, match=said):
        with_reuse(job, earlier)


def test_a_job_that_is_not_complete_is_refused(earlier: Workspace, job: Job) -> None:
    earlier.store.delete(earlier.success)

    with pytest.raises(UsageError, match="it is not complete"):
        with_reuse(job, earlier)
