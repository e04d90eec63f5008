"""Faults behind the HTTP API: control killed in mid plan, workers killed with uploads in hand."""

import signal
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.chaos.scene import Record, Scene
from tests.integration.processes import Process

KEYS_OFF = {"TRACE_OCR_API_AUTH": "off", "TRACE_OCR_API_PORT": "0", "TRACE_OCR_API_REQUEST_SECONDS": "5"}
IMPATIENT = {"FAULTS": "impatient_planner,slow_plan"}
CLIENTS = 4


@pytest.fixture
def api(scene: Scene) -> Iterator[httpx.Client]:
    """A client of an API that lets everyone in."""
    process: Process = scene.start_process("api", **KEYS_OFF)
    url = process.wait_for("Uvicorn running on")[0].split("Uvicorn running on ")[1].split(" ")[0]
    with httpx.Client(base_url=url, timeout=60) as client:
        yield client


@pytest.mark.full
def test_control_killed_in_mid_plan_and_another_takes_over(
    scene: Scene, api: httpx.Client, record: Record
) -> None:
    # given a job over HTTP whose chunks are written slowly, so that some are read before all are planned
    scene.start_worker()
    control = scene.start_control(**IMPATIENT)
    request = {"source": scene.source_uri, "output": scene.workspace_uri, "chunk_size": scene.job.chunk_size}
    assert api.post("/jobs", json=request | scene.job.parameters).status_code == 202
    scene.wait_for_chunks(3)

    control.popen.kill()
    scene.kills += 1
    scene.start_control(**IMPATIENT)

    scene.finish()
    record(scene.assert_survived(faults=0))


@pytest.mark.full
@pytest.mark.parametrize("kind", ["crops"], indirect=True)
def test_workers_killed_with_uploads_in_hand(scene: Scene, api: httpx.Client) -> None:
    # given senders that never rest, and what each crop says when nothing goes wrong
    scene.start_worker()
    scene.worker.wait_for("worker_ready")
    scene.wait_until(lambda: api.get("/health").json()["checks"]["worker"]["ok"])
    crops = sorted(scene.source.iterdir())[:CLIENTS]
    texts = {crop.name: _read(api, crop).json()[0]["value"] for crop in crops}
    statuses: Counter[int] = Counter()
    wrong: list[tuple[str, str]] = []
    stop, lock = threading.Event(), threading.Lock()

    def keep_sending(number: int) -> None:
        crop = crops[number]
        while not stop.is_set():
            answer = _read(api, crop)
            with lock:
                statuses[answer.status_code] += 1
                if answer.status_code == 200 and answer.json()[0]["value"] != texts[crop.name]:
                    wrong.append((crop.name, answer.text))

    senders = [threading.Thread(target=keep_sending, args=(number,)) for number in range(CLIENTS)]
    for sender in senders:
        sender.start()

    # when the worker is killed twice, each time as soon as it reads uploads
    for kill in (1, 2):
        served = statuses[200]
        scene.wait_until(lambda served=served: statuses[200] > served + CLIENTS)
        scene.signal_worker(signal.SIGKILL)
        scene.worker.wait_for("worker_ready", count=kill + 1)
    served = statuses[200]
    scene.wait_until(lambda: statuses[200] > served + CLIENTS)
    stop.set()
    for sender in senders:
        sender.join()

    # then every request was answered, none with another's text, and those cut off were told to try again
    assert wrong == []
    assert set(statuses) <= {200, 503, 504}, statuses
    assert scene.redis.client.keys("*upload*:*") == []


def _read(api: httpx.Client, crop: Path) -> httpx.Response:
    return api.post("/recognition/", files=[("files", (crop.name, crop.read_bytes()))])
