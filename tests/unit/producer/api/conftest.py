"""The application with an in-memory Redis, a folder, and a worker that answers uploads immediately."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fakeredis
import msgspec
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from werkzeug.local import LocalProxy

from contract.broker.ledger import Ledger
from contract.broker.process_report import ProcessReport
from contract.broker.reports import Reports
from contract.broker.uploads import Answer, Upload, Uploads
from contract.lines import ErrorLine, Failure, RecognitionLine, encode_line
from contract.settings import Settings
from contract.states import State
from contract.workspace import Workspace, open_workspace
from producer.api.app import make_app
from producer.api.security.keys import load_keyring, new_key
from producer.api.services import Services
from producer.planning.planner import Planner
from producer.planning.submit import Dispatcher
from producer.results.merge import merge

PIXEL = b"\x89PNG\r\n\x1a\n-not-really-"

READ_KEY, READ_ENTRY = new_key("reader", ["read"])
KEY, ENTRY = new_key("nightly", ["read", "submit"])


def process(role: Any, name: str, progress_age_seconds: float = 0.0) -> ProcessReport:
    """A report of a live process."""
    return ProcessReport(name, role, 1, "here", "cpu", 1.0, 1.0, progress_age_seconds)


def reading(value: str, confidence: float) -> msgspec.Raw:
    """The line of a crop, as in a worker's answer."""
    return msgspec.Raw(encode_line(RecognitionLine("0", "crop", value, confidence)))


class FakeWorkers:
    """Answers each nudge's uploads with their own bytes as text, or with `answer`; records the nudges."""

    def __init__(self, uploads: Uploads) -> None:
        self.uploads = uploads
        self.nudges: list[dict[str, Any]] = []
        self.uploads_read: list[Upload] = []
        self.answer: Callable[[Any], Answer | None] = lambda upload: Answer(
            upload.ticket.id, (reading(upload.data.decode(errors="replace"), 0.98765),)
        )

    def send_task(self, name: str, kwargs: dict[str, Any], **_: Any) -> None:
        self.nudges.append(kwargs)
        for upload in self.uploads.take(kwargs["kind"], kwargs["batch_size"]):
            self.uploads_read.append(upload)
            answer = self.answer(upload)
            if answer:
                self.uploads.answer(upload.ticket.sender, [answer])


@pytest.fixture
def api_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings of an API with two keys; one allowed root."""
    monkeypatch.chdir(tmp_path)
    return Settings(
        allowed_roots=(str(tmp_path),),
        redis_url="redis://unused",
        api_keys=(ENTRY, READ_ENTRY),
        api_max_bytes=10_000,
        api_max_files=3,
        api_queue_limit=4,
        api_request_seconds=5,
    )


@pytest.fixture
def workers(fake_server: fakeredis.FakeServer) -> FakeWorkers:
    return FakeWorkers(Uploads(fakeredis.FakeRedis(server=fake_server), "trace-ocr"))


@pytest.fixture
def services(
    api_settings: Settings,
    fake_server: fakeredis.FakeServer,
    workers: FakeWorkers,
    monkeypatch: pytest.MonkeyPatch,
) -> Services:
    def fake_redis_client(_: Settings, *, retries: int = 0, raw: bool = False) -> fakeredis.FakeRedis:
        return fakeredis.FakeRedis(server=fake_server, decode_responses=not raw)

    monkeypatch.setattr("producer.api.services.make_redis", fake_redis_client)
    monkeypatch.setattr("producer.api.services.make_app", lambda _: workers)
    return Services(api_settings, load_keyring(api_settings))


@pytest.fixture
def a_worker_lives(services: Services) -> None:
    """Given a worker and a control process that have reported."""
    for role, name in (("worker", "cpu@here"), ("control", "control@here")):
        Reports(services.client, "trace-ocr").write(process(role, name))


class Current:
    """Stands for the services of the test that runs, in an application that many tests use."""

    def __init__(self, services: Services) -> None:
        self.services = services

    def __getattr__(self, name: str) -> Any:
        # Nothing can stand for None, which is compared by identity.
        now = getattr(self.services, name)
        return None if now is None else LocalProxy(lambda: getattr(self.services, name))


@pytest.fixture(scope="session")
def apps() -> dict[str, tuple[Current, FastAPI]]:
    """The applications that were made so far: making one takes as long as ten requests."""
    return {}


@pytest.fixture
def app(services: Services, apps: dict[str, tuple[Current, FastAPI]]) -> FastAPI:
    """The application for this test's services."""
    settings = repr(services.settings.model_copy(update={"allowed_roots": ()}))
    if settings not in apps:
        current = Current(services)
        apps[settings] = current, make_app(current)  # type: ignore[arg-type]
    current, app = apps[settings]
    current.services = services
    return app


@pytest.fixture
def anyone(app: FastAPI) -> Iterator[TestClient]:
    """A client without a key."""
    with TestClient(app) as client:
        yield client


@pytest.fixture
def client(app: FastAPI) -> Iterator[TestClient]:
    """A client whose key may do everything."""
    with TestClient(app, headers={"Authorization": f"Bearer {KEY}"}) as client:
        yield client


@pytest.fixture
def body(crops: Callable[..., Path], tmp_path: Path) -> dict[str, Any]:
    """A request over three crops; the last is in a format that browsers do not show."""
    folder = crops("1.png", "2.png", "3.tif")
    (folder / "1.png").write_bytes(PIXEL)
    return {"source": str(folder), "output": str(tmp_path / "out"), "chunk_size": 2, "job_id": "crops-1"}


@pytest.fixture
def columns(body: dict[str, Any]) -> None:
    """Given that the request asks for all formats of results."""
    body["results"] = ["jsonl", "parquet", "csv"]


@pytest.fixture
def plan(services: Services, dispatcher: Dispatcher) -> Callable[[], None]:
    """Plan a submission, as control does."""

    def run() -> None:
        job = services.jobs.ledger.next_submitted(0.01)
        assert job
        Planner(services.jobs.ledger, services.storage, dispatcher, services.listing).plan(
            job, threading.Event()
        )

    return run


@pytest.fixture
def complete(
    client: TestClient, body: dict[str, Any], plan: Callable[[], None], services: Services
) -> Workspace:
    """Given a completed job of three items; the second failed."""
    client.post("/jobs", json=body)
    plan()
    workspace = open_workspace(body["output"], services.storage)
    job = workspace.require_job()
    read_crops(workspace, services.jobs.ledger)
    merge(job, workspace)
    services.jobs.ledger.finish(job.id, State.COMPLETED, 60)
    return workspace


def read_crops(workspace: Workspace, ledger: Ledger) -> None:
    """Write the parts of three crops in two chunks, as workers do; the second crop fails."""
    lines = [
        RecognitionLine("1.png", "1.png", "one", 0.9),
        ErrorLine("2.png", "/crops/2.png", Failure("not_an_image", "no image"), 1),  # type: ignore[arg-type]
        RecognitionLine("3.tif", "3.tif", "three", 0.8),
    ]
    for chunk, part in enumerate((lines[:2], lines[2:])):
        workspace.store.create(workspace.part(chunk), b"".join(map(encode_line, part)))
        ledger.mark(workspace.require_job().id, chunk, workspace.outcome(chunk))
