"""An API without keys is not open to web pages of others: neither across origins nor by another name."""

import socket
from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from contract.settings import Settings
from producer.api.app import make_app
from producer.api.security.keys import load_keyring
from producer.api.services import Services
from tests.unit.producer.api.conftest import KEY

FORM = {"content-type": "application/x-www-form-urlencoded"}


def client_of(settings: Settings, **changes: object) -> TestClient:
    changed = settings.model_copy(update=changes)
    return TestClient(make_app(Services(changed, load_keyring(changed))), base_url="http://127.0.0.1:8080")


@pytest.fixture
def keyless(services: Services, api_settings: Settings) -> Iterator[TestClient]:
    """A client of an API that asks for no key; it knows one name, and one other origin."""
    names = {
        "api_allowed_hosts": ("ocr.example.org", "*.corp.example"),
        "api_cors_origins": ("https://app.test",),
    }
    with client_of(api_settings, api_auth="off", **names) as client:
        yield client


@pytest.mark.parametrize(
    ("headers", "refused"),
    [
        ({}, False),
        ({"origin": "http://127.0.0.1:8080"}, False),
        ({"origin": "https://app.test"}, False),
        ({"origin": "https://app.test", "sec-fetch-site": "cross-site"}, False),
        ({"sec-fetch-site": "same-origin", "origin": "https://proxied.test"}, False),
        ({"sec-fetch-site": "none"}, False),
        ({"origin": "https://evil.test"}, True),
        ({"origin": "http://127.0.0.1:9999"}, True),
        ({"origin": "null"}, True),
        ({"sec-fetch-site": "cross-site"}, True),
        ({"sec-fetch-site": "same-site", "origin": "http://127.0.0.1:8080"}, True),
    ],
    ids=str,
)
@pytest.mark.parametrize("path", ["/jobs/x/cancel", "/jobs", "/recognition/"])
def test_without_keys_a_page_of_another_origin_changes_nothing(
    headers: dict[str, str], refused: bool, path: str, keyless: TestClient
) -> None:
    posted = keyless.post(path, headers={**headers, **FORM}, content=b"a=b")

    assert (posted.status_code == 403) is refused
    assert keyless.get("/jobs", headers=headers).status_code == 200, "browsers keep it from the page"


def test_with_keys_the_key_decides(services: Services, api_settings: Settings) -> None:
    headers = {"origin": "https://evil.test", "host": "proxied.example", "authorization": f"Bearer {KEY}"}
    with client_of(api_settings) as client:
        assert client.post("/jobs/x/cancel", headers=headers).status_code == 404
        assert client.post("/jobs/x/cancel", headers={"origin": "https://evil.test"}).status_code == 401


@pytest.mark.parametrize(
    ("host", "known"),
    [
        ("127.0.0.1:8080", True),
        ("[::1]:8080", True),
        ("localhost", True),
        ("api:8080", True),
        ("api.ocr.svc.cluster.local", True),
        (socket.gethostname(), True),
        ("OCR.example.org.:8080", True),
        ("a.corp.example", True),
        ("", True),
        ("evil.test", False),
        ("127.0.0.1.evil.test", False),
        ("evilcorp.example", False),
        ("x@evil.test:80", False),
        ("[::1", False),
    ],
)
def test_without_keys_only_known_names_are_served(host: str, known: bool, keyless: TestClient) -> None:
    for path in ("/", "/jobs", "/health"):
        assert (keyless.get(path, headers={"host": host}).status_code == 400) is not known, path


def test_names_that_are_set_bind_an_api_with_keys_too(services: Services, api_settings: Settings) -> None:
    with client_of(api_settings, api_allowed_hosts=("ocr.example.org",)) as client:
        assert client.get("/version", headers={"host": "ocr.example.org"}).status_code == 200
        refused = client.get("/version", headers={"host": "other.example.org"})
    assert (refused.status_code, "TRACE_OCR_API_ALLOWED_HOSTS" in refused.json()["detail"]) == (400, True)
