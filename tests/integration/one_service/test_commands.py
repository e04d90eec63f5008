"""The commands beside a running cluster: submit, watch, status, pause, cancel, resume, retry-errors, gc."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import redis

from contract.broker.app import make_app
from contract.settings import Settings
from tests.integration.service import Service, lines, until


def ids(path: Path) -> list[str]:
    return [json.loads(line)["id"] for line in path.read_text().splitlines()]


@pytest.fixture
def forgetful(service: Service) -> Iterator["redis.Redis"]:
    """Given a Redis that may forget everything; the processes have reported themselves again at the end."""
    yield redis.Redis.from_url(service.redis_url)
    until(lambda: service.http().get("/health").status_code == 200)


def test_a_job_from_bucket_to_bucket_gives_the_bytes_of_run_on_a_folder(
    service: Service, source: Path, run: Path
) -> None:
    service.bucket.upload(source, "commands/crops/")
    root = f"s3://{service.bucket.name}/commands"
    options = ("--chunk-size", "7", "--job-id", "commands-night", "--json")

    submitted = service.run("submit", f"{root}/crops/", "-o", f"{root}/out/", *options)
    watched = service.run("watch", "commands-night", "--json")
    shown = service.run("status", f"{root}/out/", "--json")

    assert submitted.returncode == 0, submitted.stderr
    assert json.loads(submitted.stdout)["items"] == 30
    assert watched.returncode == 1, watched.stderr
    assert json.loads(watched.stdout)["request_counts"] == {"total": 30, "completed": 29, "failed": 1}
    assert json.loads(shown.stdout)["status"] == "completed"
    assert service.bucket.read("commands/out/results.jsonl") == (run / "results.jsonl").read_bytes()
    errors = lines(service.bucket.read("commands/out/errors.jsonl"))
    assert [(line["id"], line["error"]["code"]) for line in errors] == [("zzz.png", "truncated")]
    assert service.bucket.read("commands/out/_SUCCESS") == b""


def test_a_night_that_is_read_twice_at_once_is_read_once_by_the_running_workers(
    service: Service, source: Path
) -> None:
    def put(key: str, data: bytes) -> None:
        service.bucket.client.put_object(Bucket=service.bucket.name, Key=key, Body=data)

    # given a complete night, then one new object and one with other content
    names = [path.name for path in sorted(source.iterdir()) if path.suffix == ".png"][:4]
    for name in names[:3]:
        put(f"nightly/scans/{name}", (source / name).read_bytes())
    root = f"s3://{service.bucket.name}/nightly"
    command = ("nightly", f"{root}/scans/", "-o", f"{root}/nights", "--chunk-size", "1", "--json", "--date")
    first = service.run(*command, "2026-11-20")
    put(f"nightly/scans/{names[3]}", (source / names[3]).read_bytes())
    put(f"nightly/scans/{names[0]}", (source / names[1]).read_bytes())
    planned = service.run(*command, "2026-11-21", "--dry-run")

    with ThreadPoolExecutor(2) as threads:
        both = list(threads.map(lambda _: service.run(*command, "2026-11-21"), range(2)))

    assert first.returncode == 0, first.stderr
    assert json.loads(planned.stdout)["counts"]["to_read"] == json.loads(planned.stdout)["gets"] == 2
    assert [one.returncode for one in both] == [0, 0], [one.stderr for one in both]
    assert both[0].stdout == both[1].stdout
    read = lines(service.bucket.read("nightly/nights/2026-11-21/results.jsonl"))
    assert [line["id"] for line in read] == [names[0], names[3]]
    latest = {line["id"]: line["value"] for line in lines(service.bucket.read("nightly/nights/latest.jsonl"))}
    assert list(latest) == sorted(names)
    assert latest[names[0]] == latest[names[1]]


def test_the_doctor_finds_a_running_system_sound(service: Service) -> None:
    shown = service.run("doctor", "--json")
    told = json.loads(shown.stdout)

    assert shown.returncode == 0, shown.stdout
    assert not [one for one in told["checks"] if one["verdict"] == "failed"]
    checked = {one["check"] for one in told["checks"] if one["verdict"] == "ok"}
    assert {"redis", "redis: memory policy", "clock", "processes: worker", "devices"} <= checked
    assert any(check.startswith("storage: s3://") for check in checked)


def test_a_paused_job_rests_until_it_is_resumed_although_redis_forgets_it(
    service: Service, forgetful: "redis.Redis"
) -> None:
    source, out = service.crops(5), service.folder()
    with service.client() as client:
        client.submit(source, out, chunk_size=1, job_id="commands-rest").pause()
    again = service.run("pause", str(out))

    forgetful.flushall()
    shown = service.run("status", str(out), "--json")
    resumed = service.run("resume", str(out))
    watched = service.run("watch", "commands-rest")

    assert again.returncode == 0, "to pause a paused job changes nothing"
    assert json.loads(shown.stdout)["status"] == "paused"
    assert resumed.returncode == 0, resumed.stderr
    assert watched.returncode == 0, watched.stderr
    assert ids(out / "results.jsonl") == sorted(path.name for path in source.iterdir())


def test_a_cancelled_job_is_dropped_and_gc_removes_what_it_left(service: Service) -> None:
    out = service.folder()
    with service.client() as client:
        client.submit(service.crops(5), out, chunk_size=1, job_id="commands-gone").pause()

    early = service.run("gc", "commands-gone")
    cancelled = service.run("cancel", "commands-gone")
    watched = service.run("watch", "commands-gone")
    removed = service.run("gc", str(out))

    assert early.returncode == 2
    assert "not removed" in early.stderr
    assert cancelled.returncode == 0, cancelled.stderr
    assert watched.returncode == 3
    assert "job commands-gone cancelled" in watched.stderr
    assert removed.returncode == 0, removed.stderr
    assert not [path for path in out.rglob("*") if path.is_file()]


def test_failed_items_are_read_again_and_merged_in_place_although_redis_forgets_the_job(
    service: Service, forgetful: "redis.Redis"
) -> None:
    source, out = service.crops(5), service.folder()
    crops = sorted(source.iterdir())
    good = {path: path.read_bytes() for path in (crops[1], crops[4])}
    for path in good:
        path.write_bytes(b"")
    service.run("submit", str(source), "-o", str(out), "--chunk-size", "2", "--job-id", "commands-again")
    first = service.run("watch", "commands-again", "--json")
    failed = ids(out / "errors.jsonl")

    crops[1].write_bytes(good[crops[1]])
    forgetful.flushall()
    once = service.run("retry-errors", str(out))
    second = service.run("watch", "commands-again", "--json")
    crops[4].write_bytes(good[crops[4]])
    service.run("retry-errors", "commands-again")
    third = service.run("watch", "commands-again", "--json")
    nothing = service.run("retry-errors", "commands-again")

    assert (first.returncode, second.returncode, third.returncode) == (1, 1, 0), once.stderr + second.stderr
    assert failed == [crops[1].name, crops[4].name]
    counts = [json.loads(done.stdout)["request_counts"] for done in (first, second, third)]
    assert [(c["completed"], c["failed"]) for c in counts] == [(3, 2), (4, 1), (5, 0)]
    assert ids(out / "results.jsonl") == [path.name for path in crops]
    assert nothing.returncode == 2
    assert "has no failed items" in nothing.stderr


def test_a_forged_message_is_dropped_with_a_log_line_and_the_worker_lives(service: Service) -> None:
    worker = service.processes[0]
    app = make_app(Settings(redis_url=service.redis_url))
    inside = str(service.root)
    for payload in (
        {"job": "x", "workspace": "/etc", "chunk": 0},
        {"job": "../x", "workspace": inside, "chunk": 0},
        {"job": "x", "workspace": inside, "chunk": -1},
        {"command": "rm"},
    ):
        app.send_task("trace_ocr.recognition", kwargs=payload)
    # and what is no message at all, in a queue and among the commands that Flower sends
    broker = redis.Redis.from_url(service.redis_url)
    junk = (b"\xff\xfe", b"null", b"[]", b"{}", b'{"headers": {"task": ["x"]}}', b"[" * 60_000)
    broker.lpush("trace-ocr.recognition", *junk)
    for one in junk:
        broker.publish("/0.celery.pidbox", one)

    worker.wait_for("message_dropped", count=4 + len(junk))
    with service.client() as client:
        client.submit(service.crops(1), service.folder()).wait(timeout=60)

    assert worker.popen.poll() is None
    assert len(worker.wait_for("worker_started")) == 1
