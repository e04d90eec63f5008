"""Models that a worker process loads before its first chunk."""

import dataclasses

import pytest
from structlog.testing import capture_logs

from contract.errors import ModelUnavailableError
from contract.settings import Settings
from tests.unit.worker.conftest import FakePool
from worker.app.main import preload
from worker.jobs.context import WorkerContext


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
