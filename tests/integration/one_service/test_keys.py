"""Keys: what answers without one, and what each may do."""

import pytest

from tests.integration.service import Service
from trace_ocr import ForbiddenError, JobHandle, UnauthorizedError

OPEN = {"/", "/health", "/ready", "/version", "/docs", "/openapi.json"}
"""What answers without a key."""


def test_without_a_valid_key_only_the_open_routes_answer(service: Service) -> None:
    described = service.http().get("/openapi.json").json()["paths"]
    closed = [
        (method, path.replace("{job_id}", "night").replace("{chunk}", "0").replace("{index}", "0"))
        for path, methods in described.items()
        for method in methods
        if path not in OPEN
    ]

    assert len(closed) >= 14
    for key in (None, "wrong", service.key + "x", service.key[:-1]):
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        for method, path in closed:
            answer = service.http().request(method, path, headers=headers)
            assert answer.status_code == 401, (method, path, key)
            assert answer.headers["WWW-Authenticate"] == "Bearer"
    for path in sorted(OPEN):
        assert service.http().get(path).status_code == 200, path


def test_a_key_in_another_scheme_or_in_the_address_does_not_count(service: Service) -> None:
    plain = service.http()

    assert plain.get("/jobs", headers={"Authorization": service.key}).status_code == 401
    assert plain.get("/jobs", headers={"Authorization": f"Basic {service.key}"}).status_code == 401
    assert plain.get("/jobs", params={"key": service.key}).status_code == 401


def test_a_key_does_only_what_its_scopes_say(service: Service, night: JobHandle) -> None:
    reader, submitter = service.client(service.read_key), service.client(service.submit_key)

    assert reader.job("night").status().id == "night"
    for forbidden in (
        lambda: reader.submit("/x", "/y"),
        reader.job("night").cancel,
        lambda: reader.recognition([("a.png", b"x")]),
        submitter.job("night").status,
        lambda: list(submitter.jobs()),
        lambda: list(submitter.job("night").results()),
    ):
        with pytest.raises(ForbiddenError, match="lacks the scope"):
            forbidden()
    for path in ("/metrics", "/workers", "/models"):
        assert service.http(service.submit_key).get(path).status_code == 403
        assert service.http(service.read_key).get(path).status_code == 200


def test_a_wrong_key_is_a_typed_error_that_says_what_to_do(service: Service) -> None:
    with pytest.raises(UnauthorizedError, match="trace-ocr api-key"):
        service.client("wrong").job("night").status()


def test_a_key_made_by_the_command_is_let_in_by_its_entry_in_the_file_of_keys(
    service: Service, strict: str, made_key: tuple[str, str]
) -> None:
    key, entry = made_key

    assert key not in entry
    assert service.http(key, strict).get("/jobs").status_code == 200
    assert service.http(service.read_key, strict).get("/jobs").status_code == 401, "its entry is not there"


def test_without_keys_the_api_does_not_start(service: Service) -> None:
    refused = service.run("api", "--api-port", "0", TRACE_OCR_API_KEYS="")

    assert refused.returncode == 2
    assert "trace-ocr api-key" in refused.stderr


def test_no_key_reaches_the_log(service: Service, night: JobHandle) -> None:
    for key in (service.key, service.read_key, service.submit_key):
        service.http(key).get("/jobs/night")
        service.http(key).post("/jobs/night/cancel")
        service.http(key).get(f"/jobs?after={key}")

    assert all(key not in service.log() for key in (service.key, service.read_key, service.submit_key))
