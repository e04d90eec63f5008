"""Parts: written once, statistics first, and what they say of a chunk."""

import time
from typing import Any

import msgspec
import pytest

from contract.errors import ErrorCode
from contract.lines import ErrorLine, Failure, Line, RecognitionLine
from contract.records import ChunkStatistics, PartOutcome
from contract.workspace import Workspace
from tests.unit.contract.storage.backends.mem import MemoryStore
from tests.unit.worker.conftest import FakeReader
from worker.jobs.parts import summarise, write_part
from worker.kinds.reading import Readers
from worker.kinds.recognition import RecognitionPipeline
from worker.pipeline.run import Timings

PIPELINE = RecognitionPipeline(Readers.of(FakeReader()), 4)
"""What a summary looks at: batches of four, and the model's identity."""

GOOD = RecognitionLine("a.png", "a.png", "text", 0.5)
NOTED = RecognitionLine("b.gif", "b.gif", "text", 0.5, note="first of 2 frames")
BAD = ErrorLine("c.png", "/c.png", Failure(ErrorCode.EMPTY_FILE, "zero bytes"), 1)


def statistics_of(lines: list[Line], worker: str = "cpu@here") -> ChunkStatistics:
    return summarise(lines, Timings({"forward": 1.5}, 2, 6), 3.0, PIPELINE, worker)


def test_a_part_holds_one_line_per_item(workspace: Workspace) -> None:
    assert write_part(workspace, 17, [GOOD, BAD], statistics_of([GOOD, BAD]))

    assert workspace.lines(workspace.part(17)) == [
        b'{"id":"a.png","name":"a.png","value":"text","confidence":0.5}',
        b'{"id":"c.png","uri":"/c.png","error":{"code":"empty_file","message":"zero bytes"},"attempts":1}',
    ]


def test_the_second_writer_changes_nothing(workspace: Workspace) -> None:
    # given a part
    write_part(workspace, 3, [GOOD], statistics_of([GOOD], "first@here"))

    # when a second worker comes with other lines
    stays = write_part(workspace, 3, [BAD], statistics_of([BAD], "second@here"))

    # then the first one's part and statistics stay
    assert not stays
    assert workspace.outcome(3) == PartOutcome(1, 0)
    statistics = workspace.load_statistics(3)
    assert statistics is not None
    assert statistics.worker == "first@here"


def test_the_part_comes_last(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    create = type(workspace.store).create

    def noting(store: Any, uri: str, data: bytes) -> bool:
        written.append(uri)
        return create(store, uri, data)

    monkeypatch.setattr(type(workspace.store), "create", noting)
    write_part(workspace, 0, [GOOD], statistics_of([GOOD]))

    assert written == [workspace.statistics(0), workspace.part(0)]


def test_statistics_count_lines_notes_and_places() -> None:
    statistics = statistics_of([GOOD, NOTED, BAD])

    assert (statistics.completed, statistics.failed, statistics.notes) == (2, 1, 1)
    assert statistics.batch_fill == 6 / 8
    assert statistics.stage_seconds == {"forward": 1.5}


def test_a_chunk_without_a_batch_has_no_fill() -> None:
    assert summarise([BAD], Timings(), 1.0, PIPELINE, "cpu@here").batch_fill == 0.0


def test_the_statistics_tell_what_fitted_where_memory_was_short() -> None:
    timings = Timings({"forward": 1.5}, 2, 6, fitting_batch_size=2)

    assert summarise([GOOD], timings, 3.0, PIPELINE, "gpu0@here").fitting_batch_size == 2


def test_statistics_tell_when_a_chunk_was_read(workspace: Workspace) -> None:
    before = time.time()
    timings = Timings()

    write_part(workspace, 0, [GOOD], summarise([GOOD], timings, 3.0, PIPELINE, "cpu@here"))

    statistics = workspace.load_statistics(0)
    assert statistics is not None
    assert before <= (statistics.begun_at or 0) <= (statistics.ended_at or 0) <= time.time()


class NotingStore(MemoryStore):
    """A store that notes its writes."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[tuple[str, str]] = []

    def create(self, uri: str, data: bytes) -> bool:
        self.written.append(("create", uri))
        return super().create(uri, data)

    def replace(self, uri: str, data: bytes) -> None:
        self.written.append(("replace", uri))
        super().replace(uri, data)


@pytest.mark.parametrize(
    ("root", "left_behind", "rewritten"),
    [("s3://bucket/job", False, False), ("s3://bucket/job", True, True), ("/job", False, True)],
    ids=["remote", "after a killed run", "local"],
)
def test_statistics_are_written_again_where_that_costs_nothing_or_they_are_another_runs(
    root: str, left_behind: bool, rewritten: bool
) -> None:
    workspace = Workspace(root, NotingStore())
    store: Any = workspace.store
    if left_behind:
        workspace.store.create(
            workspace.statistics(0), msgspec.json.encode(statistics_of([GOOD], "killed@here"))
        )
    store.written.clear()

    written = write_part(workspace, 0, [GOOD, BAD], statistics_of([GOOD, BAD]))

    assert written
    assert written.outcome == workspace.outcome(0)
    assert set(written.statistics.stage_seconds) == {"forward", "write"}
    rewrites = [("replace", workspace.statistics(0))] if rewritten else []
    assert store.written == [("create", workspace.statistics(0)), ("create", workspace.part(0)), *rewrites]
    statistics = workspace.load_statistics(0)
    assert statistics is not None
    assert statistics.worker == "cpu@here"
    assert ("write" in statistics.stage_seconds) is rewritten
