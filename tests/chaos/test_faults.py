"""Whatever is killed, restarted or wiped: every item ends as exactly one line, in order, and the job ends.

Tests without the mark `full` are the short form that `make test` runs; `make chaos` runs all.
"""

import os
import signal
import subprocess
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from contract.broker.reports import Reports
from tests.chaos.conftest import with_regions, with_shards
from tests.chaos.scene import Record, Scene


@with_shards
def test_worker_killed_three_times(scene: Scene, record: Record) -> None:
    scene.start_worker()
    scene.start_control()
    scene.submit()

    scene.kill_worker_three_times(chunks=4)

    scene.finish()
    record(scene.assert_survived(faults=0))


@with_regions
def test_redis_flushed_in_mid_job(scene: Scene, record: Record) -> None:
    scene.start_worker()
    scene.start_control()
    scene.submit()
    scene.wait_for_chunks(4)

    scene.redis.client.flushall()

    scene.finish()
    record(scene.assert_survived(faults=1))


@with_regions
def test_poisoned_images_cost_themselves_alone(scene: Scene, tmp_path: Path, record: Record) -> None:
    """Given one image that crashes the decoder, one that floods memory, one that hangs."""
    names = scene.job.files[:24]
    scene.job = scene.job.part(tmp_path / "some", names)
    poisoned = {names[3]: "crash", names[11]: "flood", names[20]: "hang"}
    for name, poison in poisoned.items():
        with (scene.source / name).open("ab") as file:
            file.write(f"poison:{poison}".encode())
    scene.start_worker(
        FAULTS="poison", TRACE_OCR_STALL_SECONDS="100", TRACE_OCR_DECODE_SECONDS="4",
        TRACE_OCR_DECODE_THREADS="1",
    )  # fmt: skip
    scene.start_control()
    scene.submit()

    scene.finish(status=1)

    assert not [line for line in scene.worker.lines if "worker_died" in line]
    failed = scene.job.items_of(poisoned)
    record(scene.assert_survived(faults=0, failed=len(failed)))
    codes = dict.fromkeys(failed, "worker_crashed")
    codes |= dict.fromkeys(scene.job.items_of([names[20]]), "timed_out")
    assert scene.errors() == codes


@pytest.mark.full
@pytest.mark.parametrize("kind", ["crops"], indirect=True)
def test_flushed_redis_stalls_the_job_when_nobody_reconciles(scene: Scene) -> None:
    """Negative control: without the reconciler the case above fails."""
    scene.start_worker()
    scene.start_control(TRACE_OCR_RECONCILE_SECONDS="100000")
    scene.submit()
    scene.wait_for_chunks(4)

    scene.redis.client.flushall()

    with pytest.raises(subprocess.TimeoutExpired):
        scene.start_process("watch", str(scene.workspace)).popen.wait(25)
    assert not (scene.workspace / "_SUCCESS").exists()


@pytest.mark.full
@pytest.mark.parametrize("kind", ["crops"], indirect=True)
def test_kill_between_a_mark_that_came_too_early_and_its_part(scene: Scene, record: Record) -> None:
    """Given a worker that marks chunks before they are written: control counts what is in storage."""
    scene.start_worker(FAULTS="early_mark", TRACE_OCR_RECOGNITION_BATCH_SIZE="1")
    scene.start_control()
    scene.job = replace(scene.job, chunk_size=64)
    scene.submit()
    scene.wait_until(lambda: bool(scene.redis.client.hget("trace-ocr:job:chaos", "chunks_done")))

    scene.signal_worker(signal.SIGKILL)

    scene.finish()
    record(scene.assert_survived(faults=1))


@pytest.mark.full
def test_idle_worker_stopped_then_killed_as_a_message_arrives(scene: Scene, record: Record) -> None:
    scene.start_worker().wait_for("worker_ready")
    scene.start_control()

    scene.signal_worker(signal.SIGSTOP)
    scene.submit()
    scene.signal_worker(signal.SIGKILL)

    scene.finish()
    record(scene.assert_survived(faults=0))


@pytest.mark.full
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("whom", ["process", "launcher", "group"])
def test_signal(scene: Scene, record: Record, number: signal.Signals, whom: str) -> None:
    scene.start_worker()
    scene.start_control()
    scene.submit()
    scene.wait_for_chunks(4)

    if whom == "process":
        scene.signal_worker(number)
    else:
        send = os.killpg if whom == "group" else os.kill
        send(scene.worker.popen.pid, number)
        assert scene.worker.popen.wait(60) == 0
        scene.start_worker()

    scene.finish()
    record(scene.assert_survived(faults=1))


@pytest.mark.full
def test_control_killed_in_mid_merge(scene: Scene, record: Record) -> None:
    control = scene.start_control(FAULTS="slow_merge")
    scene.start_worker()
    scene.submit()
    scene.wait_until(lambda: bool(list(scene.workspace.glob(".results.jsonl*.tmp"))))

    control.popen.kill()
    scene.kills += 1
    scene.start_control()

    scene.finish()
    record(scene.assert_survived(faults=0))


@pytest.mark.full
def test_control_killed_while_it_feeds_the_queue(scene: Scene, record: Record) -> None:
    """Given a job whose chunks control sends: few are queued, and the rest waits for the next control."""
    scene.job = replace(scene.job, chunk_size=max(1, scene.job.chunk_size // 2))
    control = scene.start_control()
    scene.wait_until(lambda: bool(Reports(scene.redis.client, "trace-ocr").live("control")))
    scene.start_worker()
    scene.submit()
    scene.wait_for_chunks(3)

    for _ in range(2):
        control.popen.kill()
        scene.kills += 1
        control = scene.start_control()
        control.wait_for("control_started")
    assert (scene.redis.client.llen("trace-ocr.recognition") or 0) <= 16

    scene.finish()
    record(scene.assert_survived(faults=0))


@pytest.mark.full
def test_submit_killed_in_mid_plan_then_continued(scene: Scene, record: Record) -> None:
    scene.start_worker()
    scene.start_control()
    submit = scene.start_process(*scene.submit_arguments(), FAULTS="slow_plan")
    scene.wait_for_chunks(3)

    submit.popen.kill()
    scene.kills += 1
    scene.submit()

    scene.finish()
    record(scene.assert_survived(faults=1))


@pytest.mark.full
@pytest.mark.parametrize("append_only", [True, False])
def test_redis_killed_and_restarted(scene: Scene, record: Record, append_only: bool) -> None:
    scene.start_worker()
    scene.start_control()
    scene.submit()
    scene.wait_for_chunks(4)

    scene.redis.kill()
    scene.redis.start()

    scene.finish()
    record(scene.assert_survived(faults=1))


@pytest.mark.full
@with_regions
def test_redis_away_for_20_seconds_across_the_end_of_chunks(scene: Scene, record: Record) -> None:
    scene.start_worker()
    scene.start_control()
    scene.submit()
    scene.wait_for_chunks(4)

    scene.redis.kill()
    threading.Event().wait(20)
    scene.redis.start()

    scene.finish()
    record(scene.assert_survived(faults=2))


@pytest.mark.full
def test_connections_cut_repeatedly(scene: Scene, record: Record) -> None:
    scene.start_worker()
    scene.start_control()
    scene.submit()

    for cut in range(1, 7):
        scene.wait_for_chunks(2 * cut)
        scene.redis.client.client_kill_filter(_type="normal", skipme=True)
        scene.redis.client.client_kill_filter(_type="pubsub", skipme=True)

    scene.finish()
    record(scene.assert_survived(faults=6))


@pytest.mark.full
def test_disk_full_while_parts_are_written(scene: Scene, record: Record) -> None:
    scene.start_worker(FAULTS="full_disk")
    scene.start_control()
    scene.submit()

    scene.finish()
    assert scene.worker.wait_for("No space left on device", count=3)
    record(scene.assert_survived(faults=3))


@pytest.mark.full
def test_clock_steps_by_an_hour(scene: Scene, tmp_path: Path, record: Record) -> None:
    clock = tmp_path / "clock"
    clock.write_text("0")
    faults = {"FAULTS": "stepping_clock", "CLOCK_FILE": str(clock)}
    scene.start_worker(**faults)
    scene.start_control(**faults)
    scene.submit(**faults)

    for step, seconds in enumerate(("3600", "-3600", "0"), start=1):
        scene.wait_for_chunks(4 * step)
        clock.write_text(seconds)

    scene.finish()
    record(scene.assert_survived(faults=3))


@pytest.mark.full
def test_two_control_processes_at_once(scene: Scene, record: Record) -> None:
    scene.start_control()
    scene.start_control()
    scene.start_worker()
    scene.submit()

    scene.finish()
    record(scene.assert_survived(faults=0))


@pytest.mark.full
def test_same_workspace_submitted_twice_at_once(scene: Scene, record: Record) -> None:
    scene.start_worker()
    scene.start_control()

    both = [scene.start_process(*scene.submit_arguments(), FAULTS="slow_plan") for _ in range(2)]

    assert [submit.popen.wait(120) for submit in both] == [0, 0]
    scene.finish()
    # A chunk is sent by the one that wrote it; at the very start both may find it missing.
    record(scene.assert_survived(faults=1))
