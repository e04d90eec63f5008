"""What is there, what is away, and an API that is stopped while somebody listens."""

import json
from pathlib import Path

import httpx
import pytest

from tests.integration.one_service.answers import events, refusal
from tests.integration.service import Service, until
from trace_ocr import Client, JobHandle


def test_health_names_everything_that_a_job_needs(service: Service) -> None:
    until(lambda: service.http().get("/health").status_code == 200)

    checks = service.http().get("/health").json()["checks"]

    assert set(checks) == {"redis", "broker", "storage", "answers", "worker", "device", "control"}
    assert all(check["ok"] for check in checks.values())
    assert service.http().get("/ready").status_code == 200


def test_workers_are_listed(http_client: httpx.Client) -> None:
    until(lambda: len(http_client.get("/workers").json()["data"]) >= 2)

    roles = {worker["role"] for worker in http_client.get("/workers").json()["data"]}

    assert roles == {"worker", "control"}


def test_the_system_tells_what_its_worker_does(client: Client, service: Service) -> None:
    job = client.submit(service.crops(40), service.folder(), chunk_size=4)
    last = job.wait(timeout=120)
    until(lambda: client.system().items_per_second)

    [worker] = [one for one in client.workers().data if one.role == "worker"]

    assert client.system().workers_alive == 1
    assert worker.name in {mark.worker for mark in last.rate}
    assert worker.busy is not None
    assert 0 < worker.busy <= 1
    assert (worker.device, worker.slow) == ("cpu", False)
    assert last.state_text == "completed"
    assert job.chunks().runs == (("done", 10, None),)


def test_a_worker_that_serves_touches_its_file(service: Service) -> None:
    files = Path(service.environment["TRACE_OCR_READY_FOLDER"]).iterdir()

    # A worker that another test has killed leaves its file, which then grows old.
    running = [Path("/proc", file.name, "cmdline") for file in files if Path("/proc", file.name).exists()]
    assert running
    assert all(program.read_bytes().split(b"\0")[1:4] == [b"-P", b"-m", b"worker"] for program in running)


@pytest.fixture(scope="module")
def away(service: Service) -> str:
    """The URL of an API whose Redis is away, and that asks for no keys."""
    return service.start_api(
        TRACE_OCR_REDIS_URL="unix:///tmp/no-such-redis.sock",
        TRACE_OCR_API_KEYS="",
        TRACE_OCR_API_AUTH="off",
    )


def test_an_api_that_asks_for_no_keys_warns(service: Service, away: str) -> None:
    (warning,) = [json.loads(line) for line in service.log().splitlines() if "api_without_keys" in line]

    assert warning["level"] == "warning"
    assert service.http(url=away).get("/version").status_code == 200


def test_without_redis_the_workspace_is_still_served_and_the_rest_is_a_503(
    service: Service, away: str, night: JobHandle, run: Path, samples: Path
) -> None:
    plain = service.http(url=away)
    body = {"source": str(service.crops(1)), "output": str(service.folder())}
    files = [("files", ("a.png", (samples / "crops/0000.png").read_bytes(), "image/png"))]

    assert plain.get("/jobs/night").json()["status"] == "completed"
    assert plain.get("/jobs/night/results").content == (run / "results.jsonl").read_bytes()
    assert "night" in {job["id"] for job in plain.get("/jobs").json()["data"]}
    assert plain.get("/metrics").status_code == 200
    for answer in (plain.post("/jobs", json=body), plain.post("/recognition/", files=files)):
        assert refusal(answer)[0] == 503
        assert int(answer.headers["Retry-After"]) > 0
    for path in ("/health", "/ready"):
        answer = plain.get(path)
        assert answer.status_code == 503
        assert answer.json()["checks"]["redis"]["ok"] is False


def test_a_stopped_api_ends_well_although_somebody_follows_a_job(service: Service, client: Client) -> None:
    job = client.submit(service.crops(3), service.folder(), chunk_size=1)
    job.pause()
    url = service.start_api()
    process = service.processes[-1]

    with service.http(service.key, url).stream("GET", f"/jobs/{job.id}/events") as answer:
        assert next(events(answer))["id"] == job.id
        status = process.stop()

    assert status == 0
    job.cancel()
