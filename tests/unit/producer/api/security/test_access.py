"""API keys: which requests are accepted, and what they may do."""

import asyncio
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from starlette.types import ASGIApp, Message

from contract.errors import SettingsError
from contract.settings import Settings
from producer.api.app import make_app
from producer.api.security.bounds import JSON_BYTES
from producer.api.security.keys import load_keyring, new_key, parse_entry
from producer.api.services import Services
from tests.unit.producer.api.conftest import ENTRY, KEY, READ_KEY

READING = ["/jobs", "/workers", "/models", "/metrics", "/jobs/x", "/jobs/x/results", "/jobs/x/events"]
SUBMITTING = ["/jobs", "/jobs/x/cancel", "/jobs/x/pause", "/jobs/x/resume", "/jobs/x/retry-errors"]


@pytest.mark.parametrize("header", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {KEY}"}])
def test_without_a_valid_key_nothing_is_shown(header: dict[str, str], anyone: TestClient) -> None:
    for path in READING:
        assert anyone.get(path, headers=header).status_code == 401, path
    for path in (*SUBMITTING, "/recognition/"):
        assert anyone.post(path, headers=header).status_code == 401, path


@pytest.mark.parametrize("path", SUBMITTING)
def test_a_key_to_read_cannot_submit(path: str, anyone: TestClient) -> None:
    header = {"Authorization": f"Bearer {READ_KEY}"}
    assert anyone.get("/jobs", headers=header).status_code == 200

    answer = anyone.post(path, headers=header, json={"source": "/x", "output": "/y"})

    assert (answer.status_code, answer.json()["detail"]) == (403, "the key reader lacks the scope submit")


def test_a_key_without_the_scope_is_refused_before_the_body_is_read(services: Services) -> None:
    app = make_app(services)
    posts = [path for path, methods in app.openapi()["paths"].items() if "post" in methods]
    assert {"/jobs", "/jobs/{job_id}/cancel", "/ocr/"} <= set(posts)

    for path in posts:
        assert status_without_body(app, path.replace("{job_id}", "x"), READ_KEY) == 403, path


def status_without_body(app: ASGIApp, path: str, key: str) -> int:
    """Return the status of a POST; reading its body fails."""
    statuses = []

    async def receive() -> Message:
        raise AssertionError("the body was read")

    async def send(message: Message) -> None:
        statuses.append(message.get("status"))

    scope = {
        "type": "http",
        "method": "POST",
        "path": path,
        "query_string": b"",
        "headers": [(b"authorization", f"Bearer {key}".encode()), (b"content-type", b"application/json")],
    }
    asyncio.run(app(scope, receive, send))
    return int(statuses[0])


@pytest.mark.parametrize("path", ["/jobs", "/jobs/x/cancel", "/workers"])
def test_only_uploads_may_be_larger_than_64_kib(path: str, client: TestClient) -> None:
    method = "GET" if path == "/workers" else "POST"

    said = client.request(method, path, content=b"[" * (JSON_BYTES + 1))
    streamed = client.request(method, path, content=iter([b"["] * 2 + [b"[" * JSON_BYTES]))

    assert (said.status_code, "65,536 bytes" in said.json()["detail"]) == (413, True)
    assert path != "/jobs" or streamed.status_code == 413


@pytest.mark.parametrize("path", ["/health", "/ready", "/version", "/openapi.json", "/docs"])
def test_paths_for_probes_and_browsers_are_open(path: str, anyone: TestClient) -> None:
    assert anyone.get(path).status_code in (200, 503)


def test_with_keys_off_no_key_is_needed_and_everything_is_allowed(
    services: Services, api_settings: Settings
) -> None:
    off = api_settings.model_copy(update={"api_auth": "off"})
    with TestClient(make_app(Services(off, load_keyring(off)))) as client:
        assert client.get("/jobs").status_code == 200
        assert client.get("/me").json() == {
            "name": "",
            "scopes": ["read", "submit"],
            "tenant": "default",
            "roots": None,
            "key_required": False,
        }


def test_a_key_learns_what_it_may_do_and_nothing_secret(
    services: Services, api_settings: Settings, tmp_path: Path
) -> None:
    key, entry = new_key("ci", ["submit"], [str(tmp_path)], tenant="lab")
    settings = api_settings.model_copy(update={"tenants": ("lab:3",), "api_keys": (entry, ENTRY)})
    with TestClient(make_app(Services(settings, load_keyring(settings)))) as client:
        said = client.get("/me", headers={"Authorization": f"Bearer {key}"}).json()
        assert client.get("/me").status_code == 401

    assert said == {
        "name": "ci",
        "scopes": ["submit"],
        "tenant": "lab",
        "roots": [str(tmp_path)],
        "key_required": True,
    }


def test_keys_on_without_any_key_is_refused(api_settings: Settings) -> None:
    with pytest.raises(SettingsError, match="requires keys and has none"):
        load_keyring(api_settings.model_copy(update={"api_keys": ()}))


def test_keys_come_from_a_file_too(api_settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text(f"# nightly jobs\n{ENTRY}\n\n")
    keyring = load_keyring(api_settings.model_copy(update={"api_keys": (), "api_keys_file": str(path)}))

    holder = keyring.holder(KEY)

    assert holder
    assert holder.name == "nightly"
    assert keyring.holder(KEY + "x") is None


def test_an_unreadable_file_of_keys_says_so(api_settings: Settings) -> None:
    with pytest.raises(SettingsError, match="TRACE_OCR_API_KEYS_FILE"):
        load_keyring(api_settings.model_copy(update={"api_keys_file": "/no/such/file"}))


@pytest.mark.parametrize(
    "entry",
    [
        "",
        "nightly",
        "nightly:read",
        "nightly:read:short",
        f"nightly:write:{'0' * 64}",
        f"a b:read:{'0' * 64}",
        f"nightly@:read:{'0' * 64}",
        f"nightly@a b:read:{'0' * 64}",
    ],
)
def test_an_entry_of_another_form_is_refused_and_not_repeated(entry: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse_entry(entry)
    assert not entry or entry not in str(caught.value)


def test_a_key_whose_tenant_is_gone_is_named_when_the_api_starts(api_settings: Settings) -> None:
    _, entry = new_key("ci", ["read"], tenant="lab")
    assert (parse_entry(entry).name, parse_entry(entry).tenant) == ("ci", "lab")

    with pytest.raises(SettingsError, match="the key ci is of the tenant lab, which TRACE_OCR_TENANTS"):
        load_keyring(api_settings.model_copy(update={"api_keys": (entry,), "tenants": ("default:1",)}))


def test_an_entry_does_not_hold_its_key() -> None:
    key, entry = new_key("nightly", ["read", "submit"])

    assert key not in entry
    assert entry.startswith("nightly:read+submit:")
