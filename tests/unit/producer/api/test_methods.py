"""What HTTP expects of every route: HEAD, OPTIONS, `Allow`, and no redirect to a name from the request."""

import pytest
from fastapi.testclient import TestClient

from contract.workspace import Workspace

READ = "GET, HEAD, OPTIONS"


@pytest.mark.parametrize(
    "path", ["/", "/health", "/version", "/static/app.js", "/jobs", "/jobs/crops-1", "/jobs/crops-1/results"]
)
def test_head_answers_as_get_without_a_body(path: str, client: TestClient, complete: Workspace) -> None:
    got, head = client.get(path), client.head(path)

    assert (head.status_code, head.content) == (got.status_code, b"")
    assert head.headers["content-type"] == got.headers["content-type"]
    assert head.headers.get("content-length") == got.headers.get("content-length")


def test_head_of_events_does_not_follow_the_job(client: TestClient, body: dict[str, object]) -> None:
    # given a job that does not end
    client.post("/jobs", json=body)

    assert client.head("/jobs/crops-1/events").status_code == 200


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/jobs", "GET, HEAD, OPTIONS, POST"),
        ("/jobs/x", READ),
        ("/jobs/x/cancel", "OPTIONS, POST"),
        ("/ocr/", "OPTIONS, POST"),
        ("/ocr", "OPTIONS, POST"),
        ("/health", READ),
        ("/static/app.js", READ),
    ],
)
def test_the_methods_of_a_route_are_said(path: str, allowed: str, client: TestClient) -> None:
    options, refused = client.options(path), client.delete(path)

    assert (options.status_code, options.headers["allow"]) == (204, allowed)
    assert (refused.status_code, refused.headers["allow"]) == (405, allowed)
    assert client.options("/nowhere").status_code == 404


def test_a_missing_or_needless_slash_redirects_nobody(client: TestClient, complete: Workspace) -> None:
    headers = {"host": "evil.test"}

    for path in ("/jobs/", "/jobs/crops-1/", "/health/", "/jobs/crops-1/results//"):
        answer = client.get(path, headers=headers, follow_redirects=False)
        assert answer.status_code in (200, 503), path
    for path in ("/recognition", "/recognition/"):
        assert client.post(path, headers=headers, follow_redirects=False).status_code == 422, path
    assert client.get("/static", headers=headers, follow_redirects=False).status_code == 404
