"""Lines of an earlier job: taken over if the same models read them, and counted."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from contract.job import Job
from contract.lines import encode_lines
from contract.records import ChunkMessage, Item
from contract.reuse import Reuse
from contract.workspace import Workspace
from tests.unit.worker.conftest import FakeReader
from worker.jobs.chunk import WorkerContext, read_chunk

MODEL = {"architecture": "fake", "weights_sha256": "0a1b", "precision": "float32"}
EARLIER = '{"id":"20.png","name":"20.png","value":"earlier","confidence":0.1,"note":"first of 2 frames"}'


@pytest.fixture
def reusing(message: ChunkMessage, workspace: Workspace, reader: FakeReader) -> ChunkMessage:
    """Given a chunk whose second item has a line, read by the model that the worker has."""
    reader.identity = MODEL  # type: ignore[misc]
    first, second = workspace.items(0)
    second = msgspec.structs.replace(second, reused=EARLIER)
    workspace.store.replace(workspace.chunk(0), encode_lines([first, second]))
    reuse_by(workspace, MODEL)
    return message


def reuse_by(workspace: Workspace, *models: dict[str, str]) -> None:
    reuse = Reuse(workspace="/earlier", models=models)

    def change(job: Job) -> Job:
        return job.model_copy(update={"reuse": reuse})

    workspace.update_job(change)


def read(message: ChunkMessage, context: WorkerContext, workspace: Workspace) -> list[Any]:
    read_chunk(message, context, lambda: None)
    return [msgspec.json.decode(line)["value"] for line in workspace.lines(workspace.part(message.chunk))]


def test_an_earlier_line_is_taken_over_in_its_place_and_its_file_is_not_opened(
    reusing: ChunkMessage, context: WorkerContext, workspace: Workspace, reader: FakeReader, job: Job
) -> None:
    Path(job.source.uri, "20.png").unlink()

    assert read(reusing, context, workspace) == ["10", "earlier"]
    assert reader.batch_sizes == [1]
    assert workspace.lines(workspace.part(0))[1].decode() == EARLIER
    statistics = workspace.load_statistics(0)
    assert statistics is not None
    assert (statistics.completed, statistics.counts, statistics.notes) == (2, {"reused": 1}, 1)


@pytest.mark.parametrize(
    "other",
    [
        {**MODEL, "weights_sha256": "ffff"},
        {**MODEL, "precision": "float16"},
        {"architecture": "fake"},
        None,
    ],
)
def test_what_other_models_have_read_is_read_again(
    other: dict[str, str] | None, reusing: ChunkMessage, context: WorkerContext, workspace: Workspace
) -> None:
    reuse_by(workspace, *([other] if other else []))

    assert read(reusing, context, workspace) == ["10", "20"]


def test_a_line_that_is_none_is_read_again(
    reusing: ChunkMessage, context: WorkerContext, workspace: Workspace
) -> None:
    items = [msgspec.structs.replace(item, reused="{") for item in workspace.items(0)]
    workspace.store.replace(workspace.chunk(0), encode_lines(items))

    assert read(reusing, context, workspace) == ["10", "20"]


def test_each_line_has_the_metadata_of_its_item_byte_by_byte(
    reusing: ChunkMessage, context: WorkerContext, workspace: Workspace, job: Job
) -> None:
    # given three items with metadata: one is read, one has an earlier line, and one fails
    metadata = b'{"price":1.50,"by":"J\\u00f6rg"}'
    items = [*workspace.items(0), Item("gone.png", f"{job.source.uri}/gone.png")]
    described = [msgspec.structs.replace(item, metadata=msgspec.Raw(metadata)) for item in items]
    workspace.store.replace(workspace.chunk(0), encode_lines(described))

    read_chunk(reusing, context, lambda: None)

    lines = workspace.lines(workspace.part(0))
    assert [line.endswith(b',"metadata":' + metadata + b"}") for line in lines] == [True] * 3
    assert [msgspec.json.decode(line).get("value") for line in lines] == ["10", "earlier", None]
