"""Nights whose items are read by a fake worker: what it reads of a file is the file's content."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest

from contract.errors import ErrorCode
from contract.job import Job
from contract.kinds.detection import DetectionParameters
from contract.kinds.recognition import RecognitionParameters
from contract.lines import DetectionLine, ErrorLine, Failure, RecognitionLine, encode_lines
from contract.records import ChunkStatistics, Item
from contract.source import Source
from contract.storage import Storage
from producer.nightly.continuing import Choices, last_state
from producer.nightly.files import Nights
from producer.nightly.night import begin, complete_empty, conclude, is_complete, job_of
from producer.nightly.records import Counts, State
from producer.planning.plan import write_plan
from producer.planning.submit import finished, settle_job
from producer.results.merge import merge
from producer.sources.listing import list_source

BROKEN = b"broken"


@dataclass
class System:
    """Nights over one source, with everything that was read counted by (id, content)."""

    source: Source
    nights: Nights
    storage: Storage
    kind: str = "recognition"
    choices: Choices = field(default_factory=Choices)
    read: Counter[tuple[str, str]] = field(default_factory=Counter)
    error: ErrorCode = ErrorCode.NOT_AN_IMAGE
    broken_pages: set[str] = field(default_factory=set)
    exports: tuple[str, ...] = ()

    def job(self, **changes: Any) -> Job:
        parameters = DetectionParameters() if self.kind == "detection" else RecognitionParameters()
        return Job(
            id="nights-1",
            kind=self.kind,
            parameters=parameters.model_copy(update=changes),
            exports=self.exports,
            source=self.source,
            chunk_size=3,
            created_at=1_000,
        )

    def items(self) -> Iterable[Item]:
        return list_source(self.source, self.storage, open("/dev/null", "rb"))  # noqa: PTH123

    def night(self, night: str, check: Callable[[], None] = lambda: None) -> Counts:
        """Read a night to its end, as the command does; return what it found."""
        last = last_state(self.nights, self.choices)
        record = self.nights.night(night) or begin(
            night, self.job(), self.items, self.nights, last, self.choices
        )
        workspace = self.nights.workspace(night)
        job = settle_job(job_of(self.job(), record, self.nights), workspace)
        if not is_complete(night, self.nights):
            if record.counts.to_read:
                self._read(job)
            else:
                complete_empty(job, workspace)
        conclude(record, job, self.nights, last, check)
        return record.counts

    def _read(self, job: Job) -> None:
        workspace = self.nights.workspace(
            job.source.chosen.rpartition("/")[2][:10] if job.source.chosen else ""
        )
        listing = list_source(job.source, self.storage, open("/dev/null", "rb"))  # noqa: SIM115, PTH123
        plan = finished(write_plan(job, workspace, _paged(listing, self.kind), lambda *_: None))
        job = workspace.update_job(lambda current: current.model_copy(update={"plan": plan}))
        for chunk in range(plan.chunks):
            if workspace.store.exists(workspace.part(chunk)):
                continue
            lines = [self._line(item) for item in workspace.items(chunk)]
            workspace.store.create(workspace.statistics(chunk), msgspec.json.encode(_STATISTICS))
            workspace.store.create(workspace.part(chunk), encode_lines(lines))
        merge(job, workspace)

    def _line(self, item: Item) -> object:
        data = self.storage.at(item.uri).read(item.uri, 1_000)
        self.read[item.id, data.decode()] += 1
        if data == BROKEN or item.id in self.broken_pages:
            return ErrorLine(item.id, item.uri, Failure(self.error, "it failed"), 1)
        name, text = item.uri.rpartition("/")[2], data.decode()
        if self.kind == "detection":
            return DetectionLine(item.id, name, item.page or 1, (), label=text)
        return RecognitionLine(item.id, name, text, 0.5)

    def latest(self) -> dict[str, str]:
        """Return what was read by ids; ids must be in the order of their documents, each once."""
        lines = self._lines(self.nights.latest)
        found = {line["id"]: line.get("value") or line.get("label") or "deleted" for line in lines}
        assert len(found) == len(lines)
        return found

    def failed(self) -> list[str]:
        """Return the ids of the items that could not be read."""
        return [line["id"] for line in self._lines(self.nights.latest_errors)]

    def last(self) -> State:
        found = self.nights.last()
        assert found
        return found

    def _lines(self, uri: str) -> list[Any]:
        return [msgspec.json.decode(line) for line in self.nights.store.read(uri, 10**6).splitlines()]


_STATISTICS = ChunkStatistics(1, 0, 1.0, {}, 1, 1.0)


def _paged(items: Iterable[Item], kind: str) -> Any:
    """Return a listing in which each document has a page for each letter of its content."""
    from producer.sources.base import Listing

    def pages() -> Any:
        for item in items:
            if kind != "detection" or item.page or not item.uri.endswith(".pdf"):
                yield item
                continue
            for page, _ in enumerate(Path(item.uri).read_text(), 1):
                yield msgspec.structs.replace(item, id=f"{item.id}#page={page}", page=page)

    return Listing(pages(), Counter())


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    """Given an empty folder of scans."""
    folder = tmp_path / "scans"
    folder.mkdir()
    return folder


@pytest.fixture
def system(scans: Path, tmp_path: Path, storage: Storage) -> System:
    """Given nights over the folder of scans."""
    nights = Nights(str(tmp_path / "nights"), storage.at(str(tmp_path)))
    return System(Source(type="folder", uri=str(scans), changed="sha256"), nights, storage)
