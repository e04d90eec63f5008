"""Jobs at every stage: a folder of crops, a planned workspace, parts, and a queue that records messages."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from contract.errors import ErrorCode
from contract.job import Job, Plan
from contract.lines import ErrorLine, Failure, RecognitionLine, encode_line
from contract.records import ChunkStatistics, Item
from contract.workspace import Workspace
from producer.planning.submit import Dispatcher


@dataclass
class FakeQueue:
    """Chunks that were sent, and chunks reported as waiting."""

    sent: list[int] = field(default_factory=list)
    waiting: set[int] = field(default_factory=set)


@pytest.fixture
def queue() -> FakeQueue:
    return FakeQueue()


@pytest.fixture
def dispatcher(queue: FakeQueue) -> Dispatcher:
    return Dispatcher(lambda job, workspace, chunk: queue.sent.append(chunk), lambda job: queue.waiting)


@pytest.fixture
def crops(tmp_path: Path) -> Callable[..., Path]:
    """Make the folder `crops` with files of the given names."""

    def make(*names: str) -> Path:
        for name in names:
            path = tmp_path / "crops" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"x")
        return tmp_path / "crops"

    return make


ITEMS = [Item(id=f"{n}.png", uri=f"/crops/{n}.png") for n in range(5)]


@pytest.fixture
def planned(job: Job, workspace: Workspace) -> Job:
    """Given a workspace whose job is fully planned: 5 items in 3 chunks."""
    for number in range(3):
        data = b"".join(map(encode_line, ITEMS[2 * number : 2 * number + 2]))
        workspace.store.replace(workspace.chunk(number), data)
    planned = job.model_copy(update={"plan": Plan(chunks=3, items=5, passed_over={"hidden": 1})})
    workspace.save_job(planned)
    return planned


@pytest.fixture
def write_part(workspace: Workspace) -> Callable[..., None]:
    """Write the part of a chunk of the planned job, as a worker does; the items named in `failed` failed."""

    def write(number: int, failed: tuple[str, ...] = ()) -> None:
        failure = Failure(ErrorCode.EMPTY_FILE, "the file holds no bytes")
        lines = [
            ErrorLine(item.id, item.uri, failure, 1)
            if item.id in failed
            else RecognitionLine(item.id, item.id, f"text {item.id}", 0.5)
            for item in ITEMS[2 * number : 2 * number + 2]
        ]
        model = {"architecture": "parseq", "device": "cpu", "source": "model store"}
        statistics = ChunkStatistics(
            len(lines) - len(failed),
            len(failed),
            1.0,
            {"fetch": 0.25, "forward": 0.5},
            1,
            0.5,
            (model,),
            f"cpu{number}@host",
        )
        workspace.store.replace(workspace.statistics(number), encode_line(statistics))
        workspace.store.replace(workspace.part(number), b"".join(map(encode_line, lines)))

    return write
