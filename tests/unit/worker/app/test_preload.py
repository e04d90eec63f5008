"""Models that a worker process loads before its first chunk."""

import dataclasses
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from contract.errors import ModelUnavailableError
from contract.settings import Settings
from tests.unit.worker.conftest import FakePool
from worker.app.preloading import get_ready, preload
from worker.jobs.context import WorkerContext
from worker.monitoring.ready import ReadyFile


@pytest.fixture
def preloading(context: WorkerContext, settings: Settings) -> WorkerContext:
    update = {"preload": ("recognition", "recognition"), "recognition_model": "parseq"}
    return dataclasses.replace(context, settings=settings.model_copy(update=update))


def test_the_default_models_of_the_named_kinds_are_loaded(
    preloading: WorkerContext, recognisers: FakePool
) -> None:
    preload(preloading)

    assert recognisers.asked == ["parseq", "parseq"]


def test_a_model_without_weights_is_logged_and_left_to_the_jobs_that_need_it(
    preloading: WorkerContext, recognisers: FakePool
) -> None:
    recognisers.error = ModelUnavailableError("no weights for parseq")

    with capture_logs() as logged:
        preload(preloading)

    assert recognisers.asked == ["parseq", "parseq"]
    assert [line["event"] for line in logged] == ["preload_failed"] * 2


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The folder of the file that says that a process is ready, not made yet."""
    return tmp_path / "ready"


def test_a_process_that_serves_is_ready_once_its_models_are_loaded(
    preloading: WorkerContext, recognisers: FakePool, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready, seen = ReadyFile(str(file)), list[bool]()

    def serve_while_loading(_: str) -> object:
        ready.touch()
        seen.append(file.exists())
        return recognisers.reader

    monkeypatch.setattr(recognisers, "get", serve_while_loading)

    get_ready(preloading, ready, ready.touch)

    assert seen == [False, False]
    assert file.exists()


def test_a_process_whose_models_cannot_be_loaded_is_ready_for_others(
    preloading: WorkerContext, recognisers: FakePool, file: Path
) -> None:
    recognisers.error = MemoryError()
    ready = ReadyFile(str(file))

    with pytest.raises(MemoryError):
        get_ready(preloading, ready, ready.touch)

    assert file.exists()
