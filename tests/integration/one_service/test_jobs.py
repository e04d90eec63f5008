"""A job's life over HTTP: submitted, followed, steered, read again, and found with Redis empty."""

import itertools
from pathlib import Path

import httpx
import pytest
import redis

from tests.integration.one_service.answers import events, refusal
from tests.integration.service import Service, lines, until
from trace_ocr import (
    ApiError,
    Client,
    ConflictError,
    JobCancelledError,
    JobFailedError,
    JobHandle,
    NotFoundError,
)

MANY = 60
"""Crops, each a chunk of its own: a job that is not over before it is steered."""


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


def test_a_source_with_nothing_to_read_fails_the_job_and_says_so(client: Client, service: Service) -> None:
    empty = service.folder()
    empty.mkdir()
    job = client.submit(empty, service.folder())

    with pytest.raises(JobFailedError, match="holds no images"):
        job.wait(timeout=60)


def test_a_folder_of_nothing_but_bad_files_is_a_completed_job(client: Client, service: Service) -> None:
    folder = service.folder()
    folder.mkdir()
    (folder / "a.png").write_bytes(b"")
    (folder / "b.png").write_bytes(b"text")

    job = client.submit(folder, service.folder())
    done = job.wait(timeout=60)

    assert (done.request_counts.completed, done.request_counts.failed) == (0, 2)
    assert list(job.results()) == []
    assert [line["error"]["code"] for line in job.errors()] == ["empty_file", "not_an_image"]


def test_what_is_not_there_is_a_404_with_a_detail(client: Client, http_client: httpx.Client) -> None:
    with pytest.raises(NotFoundError, match="no-such-job"):
        client.job("no-such-job").status()
    for path in ("", "/results", "/errors", "/events", "/samples", "/images/0/0"):
        assert refusal(http_client.get(f"/jobs/no-such-job{path}"))[0] == 404, path
    for action in ("cancel", "pause", "resume", "retry-errors"):
        assert refusal(http_client.post(f"/jobs/no-such-job/{action}"))[0] == 404, action
    assert refusal(http_client.get("/no-such-route"))[0] == 404


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


def test_a_paused_job_stands_still_until_it_is_resumed(client: Client, service: Service) -> None:
    job = client.submit(service.crops(MANY), service.folder(), chunk_size=1)

    paused = job.pause()
    until(lambda: not job.status().running)
    stood = job.status()
    with pytest.raises(ConflictError, match="not complete"):
        list(job.results())
    resumed = job.resume()
    done = job.wait(timeout=200)

    assert paused.status == stood.status == "paused"
    assert stood.request_counts.completed < MANY, "the test is about a job stopped in its middle"
    assert resumed.status in ("validating", "in_progress")
    assert done.request_counts.completed == MANY
    assert len(list(job.results())) == MANY


def test_a_cancelled_job_ends_and_a_complete_one_cannot_be_cancelled(
    client: Client, service: Service, night: JobHandle
) -> None:
    job = client.submit(service.crops(MANY), service.folder(), chunk_size=1)

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
