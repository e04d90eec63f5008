"""Fakes at the outer edges: an in-memory Redis and a clock that a test moves by hand."""

from dataclasses import dataclass
from pathlib import Path

import fakeredis
import pytest

from contract.job import Job, RecognitionParameters, Source
from contract.ledger import Ledger
from contract.settings import Settings
from contract.storage import Storage
from contract.workspace import Workspace, open_workspace


@dataclass
class Clock:
    """Unix seconds that stand still until told otherwise."""

    now: float = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def fake_redis() -> fakeredis.FakeRedis:
    return fakeredis.FakeRedis(decode_responses=True)


@pytest.fixture
def ledger(fake_redis: fakeredis.FakeRedis, clock: Clock) -> Ledger:
    return Ledger(fake_redis, "trace-ocr", clock)


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings in a folder without a settings file."""
    monkeypatch.chdir(tmp_path)
    return Settings(allowed_roots=(str(tmp_path),))


@pytest.fixture
def storage(settings: Settings) -> Storage:
    return Storage(settings)


@pytest.fixture
def workspace(tmp_path: Path, storage: Storage) -> Workspace:
    return open_workspace(str(tmp_path / "out"), storage)


@pytest.fixture
def job(tmp_path: Path) -> Job:
    """A job over a folder, two items to a chunk, not yet planned."""
    return Job(
        id="crops-1",
        parameters=RecognitionParameters(recognition_batch_size=4),
        source=Source(type="folder", uri=str(tmp_path / "crops")),
        chunk_size=2,
        created_at=1_000,
    )
