"""`trace-ocr flower` beside a real broker with a password and a real worker, through its HTTP API."""

import json
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
from celery import Celery

from contract.broker.app import make_app
from contract.broker.reports import Reports
from contract.settings import load_settings
from producer.api.routes.inside import flower_page
from producer.local.embedded import embedded_broker
from tests.integration.processes import Process, Run, Start

BROKER_PASSWORD, FLOWER_PASSWORD = "broker-hunter2", "flower-hunter2"
FLOWER = {"TRACE_OCR_FLOWER_PORT": "0", "TRACE_OCR_FLOWER_BASIC_AUTH": f"ada:{FLOWER_PASSWORD}"}
WAIT_SECONDS, POLL_SECONDS = 60.0, 0.2


@pytest.fixture
def locked_broker(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Given a broker of the test's own that asks for a password."""
    with embedded_broker() as socket_url, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        redis.Redis.from_url(socket_url).config_set("port", port, "requirepass", BROKER_PASSWORD)
        url = f"redis://:{BROKER_PASSWORD}@127.0.0.1:{port}/0"
        monkeypatch.setenv("TRACE_OCR_REDIS_URL", url)
        yield url


def visit(process: Process) -> httpx.Client:
    """Return a client, logged in, of a Flower that has started."""
    started = json.loads(process.wait_for("flower_started")[0])
    return httpx.Client(base_url=f"http://127.0.0.1:{started['port']}", auth=("ada", FLOWER_PASSWORD))


def eventually(ask: Callable[[], Any]) -> Any:
    """Ask until there is an answer; Flower tells nobody when it has heard of something."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not (answer := ask()):
        assert time.monotonic() < deadline, "no answer"
        time.sleep(POLL_SECONDS)
    return answer


def tasks(client: httpx.Client, state: str = "SUCCESS") -> dict[str, Any]:
    answer = client.get("/api/tasks").json()
    return {identity: task for identity, task in answer.items() if task["state"] == state}


def say_done(app: Celery, identity: str) -> None:
    """Send what a worker says of one chunk from taking it to its end."""
    with app.connection() as connection, app.events.Dispatcher(connection, hostname="gpu0@a") as worker:
        worker.send("task-received", uuid=identity, name="trace_ocr.recognition", args="night 1/1")
        worker.send("task-succeeded", uuid=identity, result="{'ok': 5}", runtime=1.0)


@pytest.mark.usefixtures("demo_model")
def test_it_shows_workers_chunks_and_results_to_those_who_know_the_password(
    start: Start, trace_ocr: Run, few_crops: Path, tmp_path: Path, locked_broker: str
) -> None:
    flower = start("flower", **FLOWER)
    worker = start("worker", "--allowed-roots", str(tmp_path))
    worker.wait_for("worker_ready")

    with visit(flower) as client:
        trace_ocr("submit", str(few_crops), "-o", "out", "--job-id", "nightly-0412", "--chunk-size", "3")
        done = eventually(lambda: len(shown := tasks(client)) == 2 and shown)
        eventually(lambda: client.get("/api/workers?refresh=1").json())
        name = next(iter(client.get("/api/workers").json()))

        # As in `GET /workers`.
        assert [name] == [
            live.name for live in Reports(redis.Redis.from_url(locked_broker), "trace-ocr").live()
        ]
        assert name.startswith("cpu@")
        assert set(done) == {"nightly-0412/0", "nightly-0412/1"}
        first = done["nightly-0412/0"]
        assert (first["args"], first["kwargs"], first["worker"]) == ("nightly-0412 1/2", "", name)
        assert first["result"].startswith("{'ok': 3, 'failed': 0, 'per_second': ")
        assert "nightly-0412 1/2" in client.get("/task/nightly-0412/0").text

        linked = flower_page(str(client.base_url), "recognition", "nightly-0412")
        assert linked
        for page in ("/", "/tasks", linked, "/broker", f"/worker/{name}", "/api/workers", "/api/tasks"):
            assert httpx.get(client.base_url.join(page)).status_code == 401, page
            shown = client.get(page)
            assert shown.status_code == 200, page
            assert BROKER_PASSWORD not in shown.text, page
            assert FLOWER_PASSWORD not in shown.text, page
        assert client.get("/metrics").status_code == 404
        assert client.post(f"/api/worker/shutdown/{name}").status_code == 403
        assert httpx.get(client.base_url.join("/healthcheck")).text == "OK"
    arguments = Path(f"/proc/{flower.popen.pid}/cmdline").read_text()

    assert flower.stop() == 0
    assert "hunter2" not in "".join(flower.lines) + arguments
    assert worker.popen.poll() is None


@pytest.mark.usefixtures("locked_broker")
def test_what_it_has_seen_outlives_a_sigkill(start: Start, tmp_path: Path) -> None:
    app = make_app(load_settings())
    first = start("flower", **FLOWER)
    with visit(first) as client:

        def heard() -> bool:
            say_done(app, "night/0")
            return "night/0" in tasks(client)

        eventually(heard)
    seen = time.time()
    saved = tmp_path / "flower.db"
    eventually(lambda: any(path.stat().st_mtime > seen for path in tmp_path.glob(f"{saved.name}*")))

    first.popen.kill()
    first.popen.wait()
    second = start("flower", **FLOWER)

    with visit(second) as client:
        assert tasks(client)["night/0"]["args"] == "night 1/1"
    assert second.stop() == 0


@pytest.mark.parametrize(("password", "address"), [("", "0.0.0.0"), ("ada", "127.0.0.1")])
def test_it_does_not_start_open_to_others(trace_ocr: Run, password: str, address: str) -> None:
    answer = trace_ocr(
        "flower",
        "--flower-address",
        address,
        TRACE_OCR_FLOWER_BASIC_AUTH=password,
        TRACE_OCR_REDIS_URL="redis://127.0.0.1:1",
    )

    assert answer.returncode == 2
    assert "TRACE_OCR_FLOWER_BASIC_AUTH" in answer.stderr
