"""What a stranger may try over HTTP: other folders, odd paths and bodies, calls from other pages."""

import json
from pathlib import Path

import httpx
import pytest

from tests.integration.one_service.answers import raw, refusal
from tests.integration.one_service.conftest import OTHER_ORIGIN
from tests.integration.service import Service
from trace_ocr import ApiError, Client, ForbiddenError, JobHandle


def test_sources_and_outputs_outside_the_allowed_roots_are_refused_and_nothing_is_said_of_them(
    client: Client, service: Service, tmp_path: Path
) -> None:
    inside, outside = service.crops(1), tmp_path / "outside"
    outside.mkdir()
    (service.root / "link").symlink_to(outside)
    places = (
        str(outside),
        str(tmp_path / "missing"),
        f"{service.root}/../{tmp_path.name}",
        str(service.root / "link"),
        str(service.root) + "-beside",
        "s3://another-bucket/crops/",
        f"s3://{service.bucket.name}-beside/",
        "/etc",
        "/",
    )

    for place in places:
        for source, output in ((place, service.folder()), (inside, place)):
            with pytest.raises(ForbiddenError, match="outside the allowed roots"):
                client.submit(source, output)
    for place in ("crops", "~/crops", "http://127.0.0.1/x", "file:///etc", "-", "bad\x00name", "s3://"):
        with pytest.raises(ApiError) as refused:
            client.submit(place, service.folder())
        assert 400 <= refused.value.status < 500, place
    assert list(outside.iterdir()) == []


def test_an_item_outside_the_allowed_roots_is_neither_read_nor_shown(
    client: Client, http_client: httpx.Client, service: Service, tmp_path: Path
) -> None:
    secret = tmp_path / "secret.png"
    secret.write_bytes(next(service.crops(1).iterdir()).read_bytes())
    manifest = service.root / "outside.jsonl"
    manifest.write_text(json.dumps({"uri": str(secret)}) + "\n")
    job = client.submit(manifest, service.folder())
    job.wait(timeout=60)

    image = http_client.get(f"/jobs/{job.id}/images/0/0")

    assert [line["error"]["code"] for line in job.errors()] == ["outside_allowed_roots"]
    assert refusal(image)[0] == 403


@pytest.mark.parametrize(
    "target",
    [
        "/jobs/../../../etc/passwd",
        "/jobs/..%2f..%2f..%2fetc%2fpasswd",
        "/jobs/%2e%2e/results",
        "/jobs/..;/results",
        "/jobs/night%00/results",
        "/jobs/night%0a",
        "/jobs/night%2f..%2fnight/results",
        "/jobs/.",
        "/jobs/-rf",
        "/jobs/night*",
        "/jobs/" + "a" * 5_000,
        "/jobs/night/images/../../0",
        "/jobs/night/images/..%2f..%2f0/0",
        "/jobs/night/images/0/-1",
        "/jobs/night/images/0/99999999999999999999",
        "/jobs/night/images/999999/0",
        "/jobs/night/images/0/7",
        "/jobs/night/images/0x0/0",
        "/jobs/night/images/0/0.png",
        "/static/../app.py",
        "/static/..%2fapp.py",
        "/static/%2e%2e/keys.py",
        "/static//etc/passwd",
        "//etc/passwd",
        "/jobs?after=../x",
        "/jobs?after=no-such-job",
    ],
)
def test_tricks_in_paths_end_as_refusals(service: Service, night: JobHandle, target: str) -> None:
    status, body = raw(service.url, "GET", target, service.key)

    assert 400 <= status < 500, body
    assert b"root:" not in body
    assert b"import" not in body


def test_no_other_origin_may_call_unless_it_is_named(service: Service, strict: str) -> None:
    asked = {"Origin": OTHER_ORIGIN, "Access-Control-Request-Method": "GET"}

    answers = [
        service.http(service.key).get("/jobs", headers={"Origin": OTHER_ORIGIN}),
        service.http().options("/jobs", headers=asked),
    ]
    let_in = service.http(url=strict).options("/jobs", headers=asked)
    other = service.http(url=strict).options("/jobs", headers={**asked, "Origin": "https://third.test"})

    assert all("Access-Control-Allow-Origin" not in answer.headers for answer in answers)
    assert let_in.headers["Access-Control-Allow-Origin"] == OTHER_ORIGIN
    assert "Access-Control-Allow-Origin" not in other.headers


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b"[" * 100_000,
        b'{"source": "\xff", "output": "/x"}',
        b'{"source": "/\\ud800", "output": "/x"}',
        b'{"source": "IN/a", "output": "ROOT/x", "\\ud800": 1}',
        b'{"source": "IN", "output": "ROOT/x", "job_id": "../x"}',
        b'{"source": "IN", "output": "ROOT/x", "chunk_size": 1e400}',
        b'{"source": "IN", "output": "ROOT/x", "chunk_size": 99999999999999999999999}',
        b'{"source": "IN", "output": "ROOT/x", "recognition_model": "../parseq"}',
        b'{"source": "IN", "output": "ROOT/x", "kind": "pages"}',
        b'{"source": "IN/missing", "output": "ROOT/x"}',
        b'{"source": "ROOT/' + b"a" * 3_000 + b'", "output": "ROOT/x"}',
        b'{"source": "IN", "output": "ROOT/' + b"b" * 3_000 + b'"}',
        b'{"source": "IN", "output": "FILE"}',
        b'{"source": "IN", "output": "FILE/x"}',
    ],
)
def test_a_body_of_any_sort_is_refused_with_a_detail(
    service: Service, http_client: httpx.Client, source: Path, body: bytes
) -> None:
    file = next(source.iterdir())
    for name, path in ((b"IN", source), (b"ROOT", service.root), (b"FILE", file)):
        body = body.replace(b'"' + name, b'"' + str(path).encode())

    for headers in ({}, {"Content-Type": "application/json"}, {"Content-Type": "text/plain; charset=utf-16"}):
        status, detail = refusal(http_client.post("/jobs", content=body, headers=headers))
        assert 400 <= status < 500, headers
        assert detail
    assert not (service.root / "x").exists()
