"""Health: everything that a job needs is checked."""

import re

import fakeredis
import pytest
from fastapi.testclient import TestClient

from contract.broker.reports import Reports
from contract.settings import Settings
from producer.api.app import make_app
from producer.api.services import Services
from producer.control.paces import STUCK_SECONDS
from tests.unit.producer.api.conftest import process


@pytest.mark.usefixtures("a_worker_lives")
def test_everything_is_healthy(anyone: TestClient) -> None:
    answer = anyone.get("/health")

    assert (answer.status_code, answer.json()["status"]) == (200, "ok")
    assert set(answer.json()["checks"]) == {
        "redis",
        "broker",
        "storage",
        "answers",
        "worker",
        "device",
        "control",
    }


@pytest.mark.usefixtures("a_worker_lives")
def test_a_redis_that_would_drop_chunks_is_unhealthy_but_ready(
    anyone: TestClient, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(services.client, "info", lambda: {"maxmemory_policy": "allkeys-lru"})

    answer = anyone.get("/health")

    assert answer.status_code == 503
    assert "allkeys-lru" in answer.json()["checks"]["broker"]["detail"]
    assert anyone.get("/ready").status_code == 200


def test_without_a_worker_it_is_unhealthy_but_ready(anyone: TestClient) -> None:
    checks = anyone.get("/health").json()["checks"]

    assert not checks["worker"]["ok"]
    assert not checks["control"]["ok"]
    assert anyone.get("/health").status_code == 503
    assert anyone.get("/ready").status_code == 200


@pytest.mark.usefixtures("a_worker_lives")
def test_without_the_thread_that_fetches_answers_it_is_not_ready(
    anyone: TestClient, services: Services
) -> None:
    services.desk.close()
    assert services.desk._thread is not None
    services.desk._thread.join()

    answer = anyone.get("/ready")

    assert answer.status_code == 503
    assert "restart" in answer.json()["checks"]["answers"]["detail"]


def test_a_stuck_device_is_detected_although_its_worker_reports(
    anyone: TestClient, services: Services
) -> None:
    stuck = process("worker", "gpu0@host", STUCK_SECONDS + 1)
    Reports(services.client, "trace-ocr").write(stuck)

    checks = anyone.get("/health").json()["checks"]

    assert checks["worker"]["ok"]
    assert not checks["device"]["ok"]
    assert "gpu0@host" in checks["device"]["detail"]


def test_missing_storage_is_detected(api_settings: Settings, services: Services) -> None:
    elsewhere = api_settings.model_copy(update={"allowed_roots": ("/no/such/folder",)})

    with TestClient(make_app(Services(elsewhere, services.keyring))) as client:
        answer = client.get("/ready")

    assert answer.status_code == 503
    assert "/no/such/folder" in answer.json()["checks"]["storage"]["detail"]


@pytest.mark.usefixtures("a_worker_lives")
def test_live_processes_are_listed(client: TestClient) -> None:
    answer = client.get("/workers").json()
    processes = answer["data"]

    assert (answer["alive"], answer["expected"]) == (1, 0)
    assert [(one["role"], one["name"]) for one in processes] == [
        ("control", "control@here"),
        ("worker", "cpu@here"),
    ]


@pytest.mark.usefixtures("a_worker_lives")
def test_the_system_is_shown_in_figures_to_who_may_read(client: TestClient, anyone: TestClient) -> None:
    seen = client.get("/system").json()

    assert (seen["redis"], seen["workers_alive"], seen["controls_alive"]) == (True, 1, 1)
    assert (seen["alert"], seen["alerts"]) == (None, [])
    assert [queue["name"] for queue in seen["queues"]][:2] == ["uploads", "urgent"]
    assert anyone.get("/system").status_code == 401


def test_without_redis_the_system_says_so(client: TestClient, fake_server: fakeredis.FakeServer) -> None:
    fake_server.connected = False

    answer = client.get("/system")

    assert (answer.status_code, answer.json()["redis"]) == (200, False)
    assert answer.json()["alert"]["severity"] == "critical"


def test_models_are_listed(client: TestClient) -> None:
    assert "parseq" in [model["architecture"] for model in client.get("/models").json()["data"]]


@pytest.mark.parametrize("path", ["/", "/docs", "/static/swagger/start.js"])
def test_pages_load_only_their_own_files_and_are_shown_in_no_other_page(
    path: str, anyone: TestClient
) -> None:
    answer = anyone.get(path)

    assert answer.status_code == 200
    policy = set(answer.headers["content-security-policy"].split("; "))
    assert {"default-src 'self'", "form-action 'none'", "frame-ancestors 'none'", "base-uri 'none'"} <= policy


def test_the_documentation_of_the_api_holds_no_script_and_nothing_from_elsewhere(anyone: TestClient) -> None:
    page = anyone.get("/docs").text

    loaded = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert loaded
    assert all(anyone.get(path).status_code == 200 and path.startswith("/") for path in loaded)
    assert not re.search(r"<script>|<style|\son\w+=", page)
