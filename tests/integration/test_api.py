"""The HTTP API over real processes: `trace-ocr api`, `control`, `worker`, a real Redis, folders and S3."""

import asyncio
import gzip
import http.client
import itertools
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import redis
import requests

from producer.local.embedded import embedded_broker
from tests.integration.service import Service, lines, running_service, until
from trace_ocr import (
    ApiError,
    AsyncClient,
    Client,
    ConflictError,
    ForbiddenError,
    JobCancelledError,
    JobFailedError,
    JobHandle,
    NotFoundError,
    RecognitionLine,
    TooManyRequestsError,
    UnauthorizedError,
)

ALL_CROPS = 257
OPEN = {"/", "/health", "/ready", "/version", "/docs", "/openapi.json"}
"""What answers without a key."""


@pytest.fixture(scope="module")
def service(s3_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Given all processes, on a Redis of their own: one test empties it."""
    with embedded_broker() as url, running_service(url, s3_server, tmp_path_factory.mktemp("api")) as running:
        yield running


@pytest.fixture
def client(service: Service) -> Iterator[Client]:
    """Given the client, with a key that may do everything."""
    with service.client() as client:
        yield client


@pytest.fixture
def http_client(service: Service) -> Iterator[httpx.Client]:
    """Given plain HTTP, with a key that may do everything."""
    with service.http(service.key) as plain:
        yield plain


@pytest.fixture(scope="module")
def source(service: Service) -> Path:
    """A folder with 29 crops and a file that is cut short."""
    folder = service.crops(29)
    (folder / "zzz.png").write_bytes((folder / "0000.png").read_bytes()[:100])
    return folder


@pytest.fixture(scope="module")
def night(service: Service, source: Path) -> JobHandle:
    """A job over the folder that was submitted through the client and is complete."""
    client = service.client()
    job = client.submit(source, service.folder("night"), job_id="night", chunk_size=7)
    job.wait(timeout=120)
    return job


@pytest.fixture(scope="module")
def run(service: Service, source: Path) -> Path:
    """The workspace that `trace-ocr run` makes of the same folder."""
    output = service.folder("run")
    arguments = ("run", str(source), "-o", str(output), "--chunk-size", "7")
    done = service.run(*arguments, TRACE_OCR_REDIS_URL="")
    assert done.returncode == 1, done.stderr
    return output


@pytest.fixture(scope="module")
def strict(service: Service) -> str:
    """The URL of an API beside the first one, with small bounds."""
    return service.start_api(
        TRACE_OCR_API_MAX_BYTES="200000",
        TRACE_OCR_API_MAX_FILES="6",
        TRACE_OCR_API_MAX_PAGES="2",
        TRACE_OCR_API_QUEUE_LIMIT="4",
    )


def crop(samples: Path, name: str = "0000.png") -> bytes:
    return (samples / "crops" / name).read_bytes()


def refusal(answer: httpx.Response) -> tuple[int, Any]:
    """Return an error's status and its detail, which must be all that it says."""
    body = answer.json()
    assert set(body) == {"detail"}
    return answer.status_code, body["detail"]


def raw(url: str, method: str, target: str, key: str | None = None) -> tuple[int, bytes]:
    """Send a request whose path nothing tidies up on its way."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=30)
    connection.putrequest(method, target, skip_accept_encoding=True)
    if key:
        connection.putheader("Authorization", f"Bearer {key}")
    connection.endheaders()
    answer = connection.getresponse()
    return answer.status, answer.read()


def events(answer: httpx.Response) -> Iterator[dict[str, Any]]:
    """Yield the job objects of a stream of events until it ends."""
    name = ""
    for line in answer.iter_lines():
        if line.startswith("event:"):
            name = line.removeprefix("event:").strip()
        elif line.startswith("data:"):
            assert name == "status"
            yield json.loads(line.removeprefix("data:"))


# a job's life


def test_results_are_byte_for_byte_those_of_run_on_the_same_folder(
    night: JobHandle, run: Path, http_client: httpx.Client
) -> None:
    results = http_client.get("/jobs/night/results")

    assert results.headers["Content-Type"].split(";")[0] == "application/jsonl"
    assert results.content == (run / "results.jsonl").read_bytes()
    assert http_client.get("/jobs/night/errors").content == (run / "errors.jsonl").read_bytes()
    assert list(night.results()) == lines(results.content)
    assert [line["error"]["code"] for line in night.errors()] == ["truncated"]


def test_a_finished_job_says_what_it_came_to(night: JobHandle, service: Service, source: Path) -> None:
    status = night.status()

    assert (status.status, status.planning) == ("completed", False)
    assert (status.source, status.workspace) == (str(source), str(service.folder("night")))
    counts = status.request_counts
    assert (counts.total, counts.completed, counts.failed) == (30, 29, 1)
    assert (status.chunks.total, status.chunks.done) == (5, 5)
    assert sum(mark.items for mark in status.rate) == 30
    assert [error.code for error in status.recent_errors] == ["truncated"]
    assert set(status.stage_seconds) >= {"fetch", "decode", "forward", "write"}
    assert status.created_at <= (status.in_progress_at or 0) <= (status.completed_at or 0)


def test_a_job_from_bucket_to_bucket_gives_the_same_bytes(
    service: Service, client: Client, source: Path, run: Path
) -> None:
    service.bucket.upload(source, "crops/")
    root = f"s3://{service.bucket.name}"

    job = client.submit(f"{root}/crops/", f"{root}/out/", chunk_size=7)
    job.wait(timeout=120)

    assert service.bucket.read("out/results.jsonl") == (run / "results.jsonl").read_bytes()
    assert list(job.results()) == lines((run / "results.jsonl").read_bytes())


def test_the_table_has_a_row_for_every_result(night: JobHandle) -> None:
    table = night.to_pandas()

    assert table.to_dict("records") == list(night.results())


def test_jobs_are_listed_newest_first_in_pages(
    client: Client, http_client: httpx.Client, service: Service
) -> None:
    made = [client.submit(service.crops(1), service.folder()) for _ in range(3)]
    for job in made:
        job.wait(timeout=120)

    first = http_client.get("/jobs", params={"limit": 2}).json()
    second = http_client.get("/jobs", params={"limit": 2, "after": first["last_id"]}).json()
    every = [job.id for job in client.jobs()]

    assert (first["object"], first["has_more"], len(first["data"])) == ("list", True, 2)
    assert [job["id"] for job in (*first["data"], *second["data"])] == every[:4]
    assert set(every) >= {job.id for job in made}
    created = [job.created_at for job in client.jobs()]
    assert created == sorted(created, reverse=True)
    assert {job.id for job in client.jobs(status="completed")} >= {job.id for job in made}
    assert "completed" not in {job.status for job in client.jobs(status="failed")}


def test_submitting_again_into_a_workspace_gives_the_job_that_is_there(
    http_client: httpx.Client, service: Service
) -> None:
    body = {"source": str(service.crops(1)), "output": str(service.folder())}

    first, again = http_client.post("/jobs", json=body), http_client.post("/jobs", json=body)
    other = http_client.post("/jobs", json={**body, "chunk_size": 7})

    assert (first.status_code, again.status_code) == (202, 200)
    assert first.json()["id"] == again.json()["id"]
    assert other.status_code == 409
    assert "chunk_size is 1024, not 7" in other.json()["detail"]


def test_a_source_with_nothing_to_read_fails_the_job_and_says_so(client: Client, service: Service) -> None:
    empty = service.folder()
    empty.mkdir()
    job = client.submit(empty, service.folder())

    with pytest.raises(JobFailedError, match="holds no images"):
        job.wait(timeout=60)


# the files of a job


def test_a_range_gives_exactly_its_bytes(night: JobHandle, run: Path, http_client: httpx.Client) -> None:
    whole = (run / "results.jsonl").read_bytes()
    size = len(whole)

    def ask(value: str) -> httpx.Response:
        return http_client.get("/jobs/night/results", headers={"Range": value})

    for value, start, end in (
        ("bytes=0-0", 0, 1),
        ("bytes=10-99", 10, 100),
        (f"bytes={size - 5}-", size - 5, size),
        ("bytes=-7", size - 7, size),
        (f"bytes=5-{size * 10}", 5, size),
    ):
        answer = ask(value)
        assert answer.status_code == 206, value
        assert answer.content == whole[start:end], value
        assert answer.headers["Content-Range"] == f"bytes {start}-{end - 1}/{size}"
    beyond = ask(f"bytes={size}-")
    assert (beyond.status_code, beyond.headers["Content-Range"]) == (416, f"bytes */{size}")
    for unknown in ("bytes=x-", "lines=0-5", "bytes=5-1", "bytes=0-1,3-4"):
        assert ask(unknown).content == whole, unknown


def test_offset_and_limit_count_lines(night: JobHandle, run: Path, http_client: httpx.Client) -> None:
    whole = (run / "results.jsonl").read_bytes().splitlines(keepends=True)

    for offset, limit in ((0, 1), (3, 4), (27, 10), (29, 1), (1000, 1)):
        asked = {"offset": offset, "limit": limit}
        answer = http_client.get("/jobs/night/results", params=asked)
        assert answer.content == b"".join(whole[offset : offset + limit]), asked
    rest = http_client.get("/jobs/night/results", params={"offset": 28})
    assert rest.content == whole[28]


def test_results_are_compressed_for_whoever_takes_that_and_never_in_ranges(
    night: JobHandle, run: Path, http_client: httpx.Client
) -> None:
    whole = (run / "results.jsonl").read_bytes()
    packed = {"Accept-Encoding": "gzip"}

    with http_client.stream("GET", "/jobs/night/results", headers=packed) as answer:
        assert answer.headers["Content-Encoding"] == "gzip"
        assert gzip.decompress(b"".join(answer.iter_raw())) == whole
    part = http_client.get("/jobs/night/results", headers={**packed, "Range": "bytes=3-2000"})
    plain = http_client.get("/jobs/night/results", headers={"Accept-Encoding": "identity"})

    assert part.headers.get("Content-Encoding", "identity") == "identity"
    assert part.content == whole[3:2001]
    assert "Content-Encoding" not in plain.headers
    assert plain.content == whole


def test_samples_show_crops_beside_their_text(
    night: JobHandle, http_client: httpx.Client, source: Path
) -> None:
    data = http_client.get("/jobs/night/samples", params={"count": 3}).json()["data"]
    read = {line["id"]: line for line in night.results()}

    assert 0 < len(data) <= 3
    for sample in data:
        assert sample["value"] == read[sample["id"]]["value"]
        image = http_client.get(sample["image"])
        assert image.content == (source / sample["id"]).read_bytes()
        assert image.headers["Content-Type"] in ("image/png", "image/jpeg")
        assert image.headers["X-Content-Type-Options"] == "nosniff"


class CuttingTransport(httpx.HTTPTransport):
    """A network that breaks each answer off after some bytes, once in the middle and once at the end."""

    def __init__(self, *cuts: int) -> None:
        super().__init__()
        self.cuts = list(cuts)
        self.statuses: list[int] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        answer = super().handle_request(request)
        self.statuses.append(answer.status_code)
        if self.cuts:
            assert isinstance(answer.stream, httpx.SyncByteStream)
            answer.stream = CutStream(answer.stream, self.cuts.pop(0))
        return answer


class CutStream(httpx.SyncByteStream):
    """The beginning of another stream, then a broken connection."""

    def __init__(self, stream: httpx.SyncByteStream, cut: int) -> None:
        self.stream, self.cut = stream, cut

    def __iter__(self) -> Iterator[bytes]:
        left = self.cut
        for data in self.stream:
            yield data[:left]
            left -= len(data)
            if left <= 0:
                break
        raise httpx.ReadError("broken off")

    def close(self) -> None:
        self.stream.close()


def test_results_are_whole_over_a_network_that_breaks_off(
    service: Service, night: JobHandle, run: Path
) -> None:
    whole = (run / "results.jsonl").read_bytes()
    # Compressed at first, so that some hundred bytes hold several lines; then as it is.
    transport = CuttingTransport(400, 300, 0, len(whole))

    with Client(service.url, service.key, transport=transport, sleep=lambda seconds: None) as client:
        results = list(client.job("night").results())

    assert results == lines(whole)
    assert transport.statuses[0] == 200
    assert set(transport.statuses[1:-1]) == {206}
    assert transport.statuses[-1] in (206, 416)


# events


def test_events_follow_a_job_to_its_end_and_end_with_it(
    client: Client, http_client: httpx.Client, service: Service
) -> None:
    job = client.submit(service.crops(20), service.folder(), chunk_size=2)

    with http_client.stream("GET", f"/jobs/{job.id}/events") as answer:
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        seen = list(events(answer))

    assert seen[-1]["status"] == "completed"
    assert {one["id"] for one in seen} == {job.id}
    assert all(one != other for one, other in itertools.pairwise(seen))


def test_events_of_an_ended_job_are_its_last_status(night: JobHandle, http_client: httpx.Client) -> None:
    with http_client.stream("GET", "/jobs/night/events") as answer:
        seen = list(events(answer))

    assert [one["status"] for one in seen] == ["completed"]
    assert seen[0] == http_client.get("/jobs/night").json()


# steering


def test_a_paused_job_stands_still_until_it_is_resumed(client: Client, service: Service) -> None:
    job = client.submit(service.crops(ALL_CROPS), service.folder(), chunk_size=1)

    paused = job.pause()
    until(lambda: not job.status().running)
    stood = job.status()
    with pytest.raises(ConflictError, match="not complete"):
        list(job.results())
    resumed = job.resume()
    done = job.wait(timeout=200)

    assert paused.status == stood.status == "paused"
    assert stood.request_counts.completed < ALL_CROPS, "the test is about a job stopped in its middle"
    assert resumed.status in ("validating", "in_progress")
    assert done.request_counts.completed == ALL_CROPS
    assert len(list(job.results())) == ALL_CROPS


def test_a_cancelled_job_ends_and_a_complete_one_cannot_be_cancelled(
    client: Client, service: Service, night: JobHandle
) -> None:
    job = client.submit(service.crops(ALL_CROPS), service.folder(), chunk_size=1)

    assert job.cancel().status in ("cancelling", "cancelled")
    with pytest.raises(JobCancelledError):
        job.wait(timeout=60)
    for action in (night.cancel, night.pause, night.resume):
        with pytest.raises(ConflictError):
            action()

    assert night.status().status == "completed"


def test_failed_items_are_read_again_and_merged_in_place(
    client: Client, http_client: httpx.Client, service: Service
) -> None:
    source = service.crops(4)
    good = (source / "0002.png").read_bytes()
    (source / "0002.png").write_bytes(good[:100])
    job = client.submit(source, service.folder(), chunk_size=2)
    assert job.wait(timeout=60).request_counts.failed == 1
    version = http_client.get(f"/jobs/{job.id}/results").headers["ETag"]
    old_range = {"Range": "bytes=0-9", "If-Range": version}
    assert http_client.get(f"/jobs/{job.id}/results", headers=old_range).status_code == 206

    (source / "0002.png").write_bytes(good)
    retried = job.retry_errors()
    done = job.wait(timeout=60)

    assert retried.status in ("validating", "in_progress", "finalizing", "completed")
    assert (done.request_counts.completed, done.request_counts.failed) == (4, 0)
    assert [line["id"] for line in job.results()] == ["0000.png", "0001.jpg", "0002.png", "0003.png"]
    assert list(job.errors()) == []
    stale = http_client.get(f"/jobs/{job.id}/results", headers=old_range)
    assert (stale.status_code, len(lines(stale.content))) == (200, 4), "no splice of two versions"
    with pytest.raises(ApiError, match="no failed items"):
        job.retry_errors()


# idempotency


def test_one_idempotency_key_makes_one_job(http_client: httpx.Client, service: Service) -> None:
    body = {"source": str(service.crops(1)), "output": str(service.folder())}
    other = {**body, "output": str(service.folder())}
    key = {"Idempotency-Key": "once"}

    first = http_client.post("/jobs", json=body, headers=key)
    again = http_client.post("/jobs", json=body, headers=key)
    misused = http_client.post("/jobs", json=other, headers=key)

    assert (first.status_code, again.status_code) == (202, 200)
    assert first.json()["id"] == again.json()["id"]
    assert 400 <= misused.status_code < 500
    assert "Idempotency-Key" in misused.json()["detail"]
    assert not Path(other["output"]).exists()


def test_a_repeated_call_does_not_revive_a_job_that_was_cancelled_since(
    client: Client, service: Service
) -> None:
    source, output = service.crops(ALL_CROPS), service.folder()
    job = client.submit(source, output, chunk_size=1, idempotency_key="then cancelled")
    job.cancel()

    again = client.submit(source, output, chunk_size=1, idempotency_key="then cancelled")

    assert again.id == job.id
    assert again.status().status in ("cancelling", "cancelled")


# Redis forgets everything


def test_status_results_and_the_list_are_answered_from_the_workspace_after_flushall(
    client: Client, http_client: httpx.Client, night: JobHandle, run: Path, service: Service
) -> None:
    before = night.status()

    redis.Redis.from_url(service.redis_url).flushall()
    after = night.status()

    assert (after.status, after.request_counts) == ("completed", before.request_counts)
    assert http_client.get("/jobs/night/results").content == (run / "results.jsonl").read_bytes()
    assert [error["id"] for error in night.errors()] == ["zzz.png"]
    assert "night" in {job.id for job in client.jobs()}
    assert http_client.get("/jobs/night/samples").json()["data"]
    fresh = client.submit(service.crops(2), service.folder())
    assert fresh.wait(timeout=120).request_counts.completed == 2
    # The reports went with the rest; each process writes its own again within seconds.
    until(lambda: http_client.get("/health").status_code == 200)


# keys


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


def test_a_key_made_by_the_command_is_let_in_by_its_entry(service: Service) -> None:
    made = service.run("api-key", "nightly", "--scope", "read")
    key, entry = (line.split()[1] for line in made.stdout.splitlines())
    keys_file = service.root / "keys"
    keys_file.write_text(f"# nightly jobs\n{entry}\n")

    url = service.start_api(TRACE_OCR_API_KEYS="", TRACE_OCR_API_KEYS_FILE=str(keys_file))

    assert key not in entry
    assert service.http(key, url).get("/jobs").status_code == 200
    assert service.http(service.key, url).get("/jobs").status_code == 401


def test_without_keys_the_api_does_not_start_and_without_authentication_it_warns(service: Service) -> None:
    refused = service.run("api", "--api-port", "0", TRACE_OCR_API_KEYS="")
    open_url = service.start_api(TRACE_OCR_API_KEYS="", TRACE_OCR_API_AUTH="off")

    assert refused.returncode == 2
    assert "trace-ocr api-key" in refused.stderr
    assert service.http(url=open_url).get("/jobs").status_code == 200
    warning = json.loads(service.processes[-1].wait_for("api_without_keys")[0])
    assert warning["level"] == "warning"


def test_no_key_reaches_the_log(service: Service, night: JobHandle) -> None:
    for key in (service.key, service.read_key, service.submit_key):
        service.http(key).get("/jobs/night")
        service.http(key).post("/jobs/night/cancel")
        service.http(key).get(f"/jobs?after={key}")

    assert all(key not in service.log() for key in (service.key, service.read_key, service.submit_key))


# what lies outside


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


def test_no_other_origin_may_call_unless_it_is_named(service: Service) -> None:
    origin = "https://elsewhere.test"
    asked = {"Origin": origin, "Access-Control-Request-Method": "GET"}

    answers = [
        service.http(service.key).get("/jobs", headers={"Origin": origin}),
        service.http().options("/jobs", headers=asked),
    ]
    named = service.start_api(TRACE_OCR_API_CORS_ORIGINS=origin)
    let_in = service.http(url=named).options("/jobs", headers=asked)
    other = service.http(url=named).options("/jobs", headers={**asked, "Origin": "https://third.test"})

    assert all("Access-Control-Allow-Origin" not in answer.headers for answer in answers)
    assert let_in.headers["Access-Control-Allow-Origin"] == origin
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


# what is away


def test_without_redis_the_workspace_is_still_served_and_the_rest_is_a_503(
    service: Service, night: JobHandle, run: Path, samples: Path
) -> None:
    away = service.start_api(TRACE_OCR_REDIS_URL="unix:///tmp/no-such-redis.sock")
    plain = service.http(service.key, away)
    body = {"source": str(service.crops(1)), "output": str(service.folder())}
    files = [("files", ("a.png", crop(samples), "image/png"))]

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
    job = client.submit(service.crops(ALL_CROPS), service.folder(), chunk_size=1)
    job.pause()
    url = service.start_api()
    process = service.processes[-1]

    with service.http(service.key, url).stream("GET", f"/jobs/{job.id}/events") as answer:
        assert next(events(answer))["id"] == job.id
        status = process.stop()

    assert status == 0
    job.cancel()


# bounds


def test_a_body_that_says_it_is_too_large_is_refused_before_it_is_sent(service: Service) -> None:
    parts = urlsplit(service.url)
    with socket.create_connection((str(parts.hostname), parts.port), timeout=30) as connection:
        connection.sendall(
            b"POST /recognition/ HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\n"
            b"Content-Length: 10000000000\r\nAuthorization: Bearer " + service.key.encode() + b"\r\n\r\n"
        )
        answer = connection.recv(65_536)

    assert answer.startswith(b"HTTP/1.1 413")


def test_without_a_key_no_body_is_waited_for(service: Service) -> None:
    parts = urlsplit(service.url)
    for path, kind in (("/recognition/", "multipart/form-data; boundary=b"), ("/jobs", "application/json")):
        with socket.create_connection((str(parts.hostname), parts.port), timeout=10) as connection:
            head = (
                f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\nContent-Length: 60000000\r\n\r\n"
            )
            connection.sendall(head.encode())
            assert connection.recv(65_536).startswith(b"HTTP/1.1 401"), path


def test_a_body_of_unsaid_length_is_refused_once_it_is_too_large(service: Service, strict: str) -> None:
    for path, kind in (("/recognition/", "multipart/form-data; boundary=b"), ("/jobs", "application/json")):
        sent = _send_endless(strict, path, kind, service.key)
        assert sent.startswith(b"HTTP/1.1 413"), (path, sent[:200])


def _send_endless(url: str, path: str, kind: str, key: str) -> bytes:
    """Send a body piece by piece until the server answers; it must not take all of it."""
    parts = urlsplit(url)
    head = (
        f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\n"
        f"Authorization: Bearer {key}\r\n\r\n"
    )
    beginning = b'--b\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
    with socket.create_connection((str(parts.hostname), parts.port), timeout=30) as connection:
        connection.sendall(head.encode() + b"%x\r\n%s\r\n" % (len(beginning), beginning))
        connection.settimeout(0.2)
        for _ in range(50):
            try:
                connection.sendall(b"10000\r\n" + b" " * 0x10000 + b"\r\n")
                return connection.recv(65_536)
            except TimeoutError:
                continue
            except ConnectionError:
                break
    return b"no answer after 3 MB"


def test_too_many_files_and_too_many_pages_are_refused(service: Service, strict: str, samples: Path) -> None:
    plain = service.http(service.key, strict)
    files = [("files", (f"{n}.png", crop(samples), "image/png")) for n in range(7)]
    pdf = [("files", ("three.pdf", _pdf(3), "application/pdf"))]

    too_many = refusal(plain.post("/recognition/", files=files))
    too_long = refusal(plain.post("/recognition/", files=pdf))

    assert (too_many[0], "more than 6 files" in too_many[1]) == (413, True)
    assert too_long[0] in (400, 413)
    assert "from 1 to 2 are read" in too_long[1]


def _pdf(pages: int) -> bytes:
    """Return a PDF of some empty pages."""
    kids = b" ".join(b"%d 0 R" % (3 + page) for page in range(pages))
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[" + kids + b"]/Count %d>>" % pages,
        *[b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 100 32]>>"] * pages,
    ]
    body = b"%PDF-1.4\n"
    places = []
    for number, content in enumerate(objects, 1):
        places.append(len(body))
        body += b"%d 0 obj%sendobj\n" % (number, content)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    head = b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    trailer = b"trailer<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF" % (len(objects) + 1, len(body))
    return body + head + table + trailer


# /recognition/


def test_doctrs_own_client_example_works_and_gives_the_strings_of_run(
    service: Service, source: Path, run: Path
) -> None:
    read = {str(line["id"]): line for line in lines((run / "results.jsonl").read_bytes())}
    names = sorted(read)[:6]
    files = [("files", (name, (source / name).read_bytes(), f"image/{_subtype(name)}")) for name in names]

    answer = requests.post(
        f"{service.url}/recognition",
        params={"reco_arch": "crnn_mobilenet_v3_small", "reco_bs": "4"},
        files=files,
        headers={"Authorization": f"Bearer {service.key}"},
        timeout=90,
    )

    assert answer.status_code == 200, answer.text
    assert [redirect.status_code for redirect in answer.history] == [307]
    assert answer.json() == [
        {
            "name": name,
            "value": read[name]["value"],
            "confidence": round(float(str(read[name]["confidence"])), 2),
        }
        for name in names
    ]


def _subtype(name: str) -> str:
    return "png" if name.endswith(".png") else "jpeg"


def test_the_products_client_reads_files_under_the_contracts_names(
    client: Client, source: Path, run: Path
) -> None:
    read = {str(line["id"]): line["value"] for line in lines((run / "results.jsonl").read_bytes())}
    paths = sorted(source.iterdir())[:5]

    found = client.recognition(paths, recognition_model="crnn_mobilenet_v3_small", recognition_batch_size=2)

    assert [(one.name, one.value) for one in found] == [(path.name, read[path.name]) for path in paths]


def test_the_async_client_reads_files_and_jobs_as_the_blocking_one_does(
    service: Service, client: Client, night: JobHandle, source: Path
) -> None:
    crops = sorted(source.iterdir())[:3]

    async def asked() -> tuple[object, ...]:
        async with AsyncClient(service.url, service.key) as same:
            job = await same.submit(source, service.folder("night"), job_id="night", chunk_size=7)
            return (
                await same.recognition(crops),
                (await job.wait(timeout=60)).request_counts,
                [line async for line in job.results(RecognitionLine)],
                [line async for line in job.errors()],
                "night" in [found.id async for found in same.jobs(kind="recognition")],
            )

    assert asyncio.run(asked()) == (
        client.recognition(crops),
        night.status().request_counts,
        list(night.results(RecognitionLine)),
        list(night.errors()),
        True,
    )


def test_a_pdf_gives_one_element_per_page(client: Client) -> None:
    found = client.recognition([("two.pdf", _pdf(2))])

    assert [one.name for one in found] == ["two.pdf", "two.pdf"]


def test_an_unsupported_type_is_refused_in_the_contracts_words(http_client: httpx.Client) -> None:
    answer = http_client.post("/recognition/", files=[("files", ("notes.txt", b"text", "text/plain"))])

    assert refusal(answer) == (400, "Unsupported file format: text/plain for file notes.txt")


def test_one_bad_file_is_named_and_no_other_is_answered(http_client: httpx.Client, samples: Path) -> None:
    good = ("files", ("good.png", crop(samples), "image/png"))
    bad = ("files", ("bad.png", crop(samples)[:60], "image/png"))

    status, detail = refusal(http_client.post("/recognition/", files=[good, bad]))

    assert status == 400
    assert "bad.png" in detail


@pytest.mark.parametrize(
    "parameters",
    [
        {"recognition_model": "gpt"},
        {"recognition_batch_size": "0"},
        {"recognition_batch_size": "many"},
        {"reco_arch": "db_resnet50"},
        {"reco_bs": "-1"},
        {"det_arch": "db_resnet50"},
        {"surprise": "1"},
    ],
)
def test_an_unknown_parameter_or_value_is_a_422(
    http_client: httpx.Client, samples: Path, parameters: dict[str, str]
) -> None:
    files = [("files", ("a.png", crop(samples), "image/png"))]

    status, detail = refusal(http_client.post("/recognition/", params=parameters, files=files))

    assert status == 422
    assert next(iter(parameters)) in json.dumps(detail)


def test_without_files_the_answer_is_a_422(http_client: httpx.Client) -> None:
    assert http_client.post("/recognition/").status_code == 422
    assert http_client.post("/recognition/", json={"files": []}).status_code == 422


def test_without_a_worker_the_answer_is_503(service: Service, samples: Path) -> None:
    lonely = service.start_api(TRACE_OCR_NAMESPACE="lonely")
    files = [("files", ("a.png", crop(samples), "image/png"))]

    answer = service.http(service.key, lonely).post("/recognition/", files=files)

    assert refusal(answer)[0] == 503
    assert "worker" in answer.json()["detail"]
    assert int(answer.headers["Retry-After"]) > 0


def test_more_than_the_queue_holds_is_a_429_that_says_when_to_come_back(
    service: Service, strict: str, samples: Path
) -> None:
    files = [("files", (f"{n}.png", crop(samples), "image/png")) for n in range(5)]

    answer = service.http(service.key, strict).post("/recognition/", files=files)

    assert refusal(answer)[0] == 429
    assert int(answer.headers["Retry-After"]) > 0
    with Client(strict, service.key, sleep=lambda seconds: None) as impatient:
        with pytest.raises(TooManyRequestsError) as raised:
            impatient.recognition([(f"{n}.png", crop(samples)) for n in range(5)])
        assert impatient.recognition([("one.png", crop(samples))])
    assert raised.value.retry_after


# /ocr/, /detection/, /kie/


PAGE_FILES = {"letter.jpg": "image/jpeg", "ledger.pdf": "application/pdf", "receipt.png": "image/png"}
"""Sample pages of each type that is taken, and theirs."""

DEMO_DETECTION = {"detection_model": "linknet_resnet18"}

SCORES = {"confidence", "detection_score"}
SCORE, GEOMETRY = 0.0051, 1e-6
"""What scores, rounded to two decimals, and geometries may differ by."""


def leaves(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """Yield each value of a line that holds no others, with the way to it."""
    if isinstance(value, dict | list):
        for name, one in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(one, (*path, name))
    else:
        yield path, value


@pytest.mark.parametrize(
    ("kind", "key"), [("ocr", "pages"), ("detection", "bounding_boxes"), ("kie", "extracted_fields")]
)
def test_pages_over_http_are_those_of_a_job_with_their_scores_rounded(
    kind: str, key: str, service: Service, client: Client, http_client: httpx.Client, samples: Path
) -> None:
    # given a job over sample pages of each type
    folder = service.folder()
    folder.mkdir()
    for name in PAGE_FILES:
        (folder / name).write_bytes((samples / "pages" / name).read_bytes())
    job = client.submit(folder, service.folder(), kind=kind, **DEMO_DETECTION)
    job.wait(timeout=200)
    in_job: dict[tuple[str, int], Any] = {}
    for line in job.results():
        in_job[line["name"], line["page"]] = {name: one for name, one in line.items() if name != "id"}

    # when the same files are uploaded
    files = [("files", (name, (folder / name).read_bytes(), sort)) for name, sort in PAGE_FILES.items()]
    answer = http_client.post(f"/{kind}/", params=DEMO_DETECTION, files=files)

    # then there is an element for each page, in the order of the files, and each is the job's line
    assert answer.status_code == 200, answer.text
    names = ["letter.jpg", "ledger.pdf", "ledger.pdf", "ledger.pdf", "receipt.png"]
    assert [page["name"] for page in answer.json()] == names
    for page in answer.json():
        ours, theirs = dict(leaves(page)), dict(leaves(in_job[page["name"], page["page"]]))
        assert page[key]
        assert ours.keys() == theirs.keys()
        for path, value in ours.items():
            if path[-1] in SCORES and value is not None:
                assert (value, round(value, 2)) == (pytest.approx(theirs[path], abs=SCORE), value), path
            elif isinstance(value, float):
                assert value == pytest.approx(theirs[path], abs=GEOMETRY), path
            else:
                assert value == theirs[path], path
    # and the client gives them with types
    (page,) = getattr(client, kind)([folder / "receipt.png"], **DEMO_DETECTION)
    assert (page.name, page.page, len(getattr(page, key)) > 0) == ("receipt.png", 1, True)


@pytest.mark.parametrize("kind", ["ocr", "detection", "kie"])
def test_pages_that_cannot_be_read_are_refused_by_name(
    kind: str, service: Service, strict: str, http_client: httpx.Client, samples: Path
) -> None:
    plain = service.http(service.key, strict)
    good = (samples / "pages/receipt.png").read_bytes()

    def refused(client: httpx.Client, name: str, data: bytes, media_type: str) -> tuple[int, Any]:
        files = [("files", (name, data, media_type))]
        return refusal(client.post(f"/{kind}/", params=DEMO_DETECTION, files=files))

    cut = refused(http_client, "cut.png", good[:1000], "image/png")
    long = refused(plain, "three.pdf", _pdf(3), "application/pdf")
    garbage = refused(http_client, "garbage.pdf", b"%PDF-1.7 garbage", "application/pdf")
    text = refused(http_client, "notes.txt", b"text", "text/plain")

    assert (cut[0], "cut.png" in cut[1]) == (400, True)
    assert long[0] in (400, 413)
    assert "from 1 to 2 are read" in long[1]
    assert (garbage[0], "garbage.pdf" in garbage[1]) == (400, True)
    assert text == (400, "Unsupported file format: text/plain for file notes.txt")


@pytest.mark.parametrize(
    ("kind", "parameters"),
    [
        ("ocr", {"detection_model": "parseq"}),
        ("detection", {"recognition_model": "parseq"}),
        ("kie", {"group_lines": "true"}),
    ],
)
def test_a_parameter_that_is_none_of_the_kinds_is_a_422(
    kind: str, parameters: dict[str, str], http_client: httpx.Client, samples: Path
) -> None:
    files = [("files", ("a.png", (samples / "pages/receipt.png").read_bytes(), "image/png"))]

    status, detail = refusal(http_client.post(f"/{kind}/", params=parameters, files=files))

    assert (status, detail[0]["loc"]) == (422, ["query", *parameters])


# others


def test_what_is_not_there_is_a_404_with_a_detail(client: Client, http_client: httpx.Client) -> None:
    with pytest.raises(NotFoundError, match="no-such-job"):
        client.job("no-such-job").status()
    for path in ("", "/results", "/errors", "/events", "/samples", "/images/0/0"):
        assert refusal(http_client.get(f"/jobs/no-such-job{path}"))[0] == 404, path
    for action in ("cancel", "pause", "resume", "retry-errors"):
        assert refusal(http_client.post(f"/jobs/no-such-job/{action}"))[0] == 404, action
    assert refusal(http_client.get("/no-such-route"))[0] == 404


def test_health_names_everything_that_a_job_needs(service: Service) -> None:
    until(lambda: service.http().get("/health").status_code == 200)

    checks = service.http().get("/health").json()["checks"]

    assert set(checks) == {"redis", "storage", "worker", "device", "control"}
    assert all(check["ok"] for check in checks.values())
    assert service.http().get("/ready").status_code == 200


def test_workers_and_models_are_listed(service: Service, http_client: httpx.Client) -> None:
    until(lambda: len(http_client.get("/workers").json()["data"]) >= 2)

    roles = {worker["role"] for worker in http_client.get("/workers").json()["data"]}
    models = http_client.get("/models").json()["data"]

    assert roles == {"worker", "control"}
    assert "crnn_mobilenet_v3_small" in {model["architecture"] for model in models}
