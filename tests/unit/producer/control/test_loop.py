"""Control: done jobs are merged, lost jobs are restored, broken jobs fail."""

import shutil
import threading
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import fakeredis
import pytest
import redis

from contract.broker.ledger import Ledger
from contract.broker.progress import Progress
from contract.errors import ErrorCode, StorageUnavailableError
from contract.job import Job
from contract.lines import ErrorLine, Failure, RecognitionLine, encode_line
from contract.records import PartOutcome
from contract.settings import Settings
from contract.storage import Storage
from contract.workspace import Workspace, open_workspace
from producer.control.feed import Feeder
from producer.control.loop import Control
from producer.control.steer import add_retry, cancel_job, pause_job
from producer.planning.submit import Dispatcher, request_job
from producer.results.merge import merge


@pytest.fixture
def make_control(
    fake_redis: fakeredis.FakeRedis,
    ledger: Ledger,
    storage: Storage,
    dispatcher: Dispatcher,
    settings: Settings,
) -> Any:
    return lambda: Control(fake_redis, ledger, storage, dispatcher, settings)


@pytest.fixture
def control(make_control: Any) -> Control:
    made: Control = make_control()
    return made


@pytest.fixture
def running(planned: Job, workspace: Workspace, ledger: Ledger) -> Job:
    """Given a planned job that the ledger knows, with all chunks sent."""
    ledger.open(planned.id, workspace.root, planned.kind, planned.source.uri, planned.created_at)
    ledger.planned(planned.id, 3, 5, sent=True)
    ledger.plan_done(planned.id, 3, 5)
    return planned


@pytest.fixture
def read_to_the_end(running: Job, write_part: Any) -> Job:
    """Given a job whose parts all exist, none of them marked."""
    for number in range(3):
        write_part(number)
    return running


def progress_of(job: Job, ledger: Ledger) -> Progress:
    progress = ledger.load(job.id)
    assert progress
    return progress


def test_a_job_whose_chunks_are_done_is_merged_and_completed(
    read_to_the_end: Job, workspace: Workspace, control: Control, ledger: Ledger
) -> None:
    control.look_at_all()

    assert progress_of(read_to_the_end, ledger).status == "completed"
    assert workspace.store.exists(workspace.success)
    assert len(workspace.lines(workspace.results)) == 5


@pytest.mark.parametrize("begun_before", [True, False])
def test_what_a_killed_merge_left_of_any_format_is_swept(
    begun_before: bool,
    read_to_the_end: Job,
    workspace: Workspace,
    control: Control,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # given a format with files of its own, and a merge that was killed while it wrote one
    report = Mock(paths=lambda job, workspace: iter([workspace.path("exports/report.html")]))
    monkeypatch.setattr("producer.results.sinks.sinks_of", lambda job: [report])
    exports = Path(workspace.root, "exports")
    exports.mkdir()
    for name in ("report.html", "foreign.html"):
        (exports / f".{name}.4711-0badcafe.tmp").write_bytes(b"half")
    if begun_before:
        workspace.begin_merge(read_to_the_end.id)

    control.look_at_all()

    assert workspace.store.exists(workspace.success)
    left = {path.name for path in exports.iterdir()}
    ours = set() if begun_before else {".report.html.4711-0badcafe.tmp"}
    assert left == {".foreign.html.4711-0badcafe.tmp", *ours}


@pytest.mark.parametrize("key", ["", ":done"])
def test_a_damaged_record_of_one_job_keeps_no_other_waiting(
    key: str,
    read_to_the_end: Job,
    workspace: Workspace,
    storage: Storage,
    control: Control,
    ledger: Ledger,
    fake_redis: fakeredis.FakeRedis,
) -> None:
    # given an older job that control knows, one of whose keys something else has written since
    older = read_to_the_end.model_copy(update={"id": "older", "created_at": 1})
    shutil.copytree(workspace.root, workspace.root + "-older")
    open_workspace(workspace.root + "-older", storage).save_job(older)
    ledger.open("older", workspace.root + "-older", older.kind, older.source.uri, 1)
    ledger.plan_done("older", 3, 5)
    control.known["older"] = progress_of(older, ledger)
    fake_redis.delete(f"trace-ocr:job:older{key}")
    fake_redis.rpush(f"trace-ocr:job:older{key}", "an entry")

    control.look_at_all()

    assert progress_of(read_to_the_end, ledger).status == "completed"


def test_a_job_that_is_not_done_is_left_to_the_workers(
    running: Job, workspace: Workspace, control: Control, ledger: Ledger, write_part: Any
) -> None:
    write_part(0)

    control.look_at_all()

    assert progress_of(running, ledger).status == "in_progress"
    assert not workspace.store.exists(workspace.success)


def test_lost_messages_are_sent_again(running: Job, control: Control, queue: Any) -> None:
    control.look_at_all()
    control.look_at_all()

    assert queue.sent == [0, 1, 2]


@pytest.mark.parametrize("steer", [pause_job, cancel_job])
def test_a_job_that_does_not_run_is_not_sent(
    steer: Any,
    running: Job,
    workspace: Workspace,
    ledger: Ledger,
    control: Control,
    feeder: Feeder,
    queue: Any,
) -> None:
    steer(running, workspace, ledger)

    for _ in range(3):
        control.look_at_all()
        feeder.feed()

    assert queue.sent == []


@pytest.mark.parametrize(
    ("halt", "after"), [("paused", "paused"), ("cancelled", "cancelled"), ("failed", "failed")]
)
def test_a_halt_whose_command_died_before_it_told_redis_holds(
    halt: Any,
    after: str,
    running: Job,
    workspace: Workspace,
    ledger: Ledger,
    control: Control,
    queue: Any,
    write_part: Any,
) -> None:
    workspace.halt(halt, "because")
    write_part(0)

    for _ in range(3):
        control.look_at_all()

    progress = progress_of(running, ledger)
    assert (progress.status, queue.sent) == (after, [])


@pytest.mark.parametrize("steer", [pause_job, cancel_job])
def test_a_job_whose_resuming_died_before_it_told_redis_continues(
    steer: Any,
    running: Job,
    workspace: Workspace,
    ledger: Ledger,
    control: Control,
    feeder: Feeder,
    queue: Any,
) -> None:
    steer(running, workspace, ledger)
    workspace.release()

    for _ in range(3):
        control.look_at_all()
        feeder.feed()

    assert progress_of(running, ledger).status == "in_progress"
    assert queue.sent == [0, 1, 2]


def test_the_marker_of_an_older_round_does_not_end_the_job(
    running: Job,
    workspace: Workspace,
    control: Control,
    feeder: Feeder,
    ledger: Ledger,
    queue: Any,
    write_part: Any,
) -> None:
    # given a round of retries, and a control process that was stopped while it merged, and goes on
    for number, failed in enumerate(((), ("3.png",), ())):
        write_part(number, failed=failed)
    control.look_at_all()
    retried = add_retry(running, workspace, ledger)
    request_job(retried, workspace, ledger)
    merge(running, workspace)

    control.look_at_all()
    feeder.feed()

    assert progress_of(running, ledger).status == "in_progress"
    assert queue.sent == [3]


def restored(job: Job, control: Control, ledger: Ledger, fake_redis: fakeredis.FakeRedis) -> Progress:
    """Return what the ledger knows of a job that Redis has lost, and control has looked at twice."""
    control.known[job.id] = progress_of(job, ledger)
    fake_redis.flushall()
    control.look_at_all()
    control.look_at_all()
    return progress_of(job, ledger)


@pytest.mark.parametrize("halt", [None, "paused", "cancelled", "failed"])
def test_a_job_that_redis_lost_has_the_counts_of_its_parts(
    halt: Any,
    running: Job,
    workspace: Workspace,
    control: Control,
    ledger: Ledger,
    fake_redis: fakeredis.FakeRedis,
    write_part: Any,
) -> None:
    write_part(0, failed=("0.png",))
    if halt:
        workspace.halt(halt, "because")

    progress = restored(running, control, ledger, fake_redis)

    assert progress.status == (halt or "in_progress")
    assert (progress.chunks_done, progress.completed, progress.failed) == (1, 1, 1)
    assert [item.id for item in progress.recent_errors] == ["0.png"]


def test_a_merged_job_that_redis_lost_has_the_counts_of_its_summary(
    read_to_the_end: Job,
    workspace: Workspace,
    control: Control,
    ledger: Ledger,
    fake_redis: fakeredis.FakeRedis,
    write_part: Any,
) -> None:
    write_part(1, failed=("3.png",))
    merge(read_to_the_end, workspace)

    progress = restored(read_to_the_end, control, ledger, fake_redis)

    assert progress.status == "completed"
    assert (progress.chunks_done, progress.chunks_total) == (3, 3)
    assert (progress.completed, progress.failed, progress.items_total) == (4, 1, 5)
    assert [item.id for item in progress.recent_errors] == ["3.png"]


def test_after_a_round_of_retries_each_failed_item_is_shown_once(
    running: Job, workspace: Workspace, control: Control, ledger: Ledger, write_part: Any
) -> None:
    for number, failed in enumerate((("0.png", "1.png"), (), ())):
        write_part(number, failed=failed)
    control.look_at_all()
    request_job(add_retry(running, workspace, ledger), workspace, ledger)
    control.look_at_all()
    assert sorted(item.id for item in progress_of(running, ledger).recent_errors) == ["0.png", "1.png"]
    failure = Failure(ErrorCode.NOT_FOUND, "still not there")
    lines = [ErrorLine("0.png", "/crops/0.png", failure, 1), RecognitionLine("1.png", "1.png", "read", 0.5)]
    workspace.store.create(workspace.part(3), b"".join(map(encode_line, lines)))
    ledger.mark(running.id, 3, workspace.outcome(3), again=True)

    control.look_at_all()

    progress = progress_of(running, ledger)
    assert (progress.status, progress.completed, progress.failed) == ("completed", 4, 1)
    assert [(item.id, item.message) for item in progress.recent_errors] == [("0.png", "still not there")]


def test_a_job_that_ended_is_left_alone(
    running: Job, workspace: Workspace, control: Control, ledger: Ledger, queue: Any
) -> None:
    ledger.finish(running.id, "failed", 60, "no weights")

    for _ in range(3):
        control.look_at_all()

    assert queue.sent == []
    assert workspace.load_halt() is None


def test_a_merged_job_that_the_ledger_missed_is_completed_without_a_second_merge(
    read_to_the_end: Job, workspace: Workspace, control: Control, ledger: Ledger
) -> None:
    workspace.store.replace(workspace.summary, b'{"id":"crops-1"}')
    workspace.store.replace(workspace.success, b"")

    control.look_at_all()

    assert progress_of(read_to_the_end, ledger).status == "completed"
    assert not workspace.store.exists(workspace.results)


def test_a_job_that_redis_lost_is_entered_again_and_continues(
    running: Job, control: Control, ledger: Ledger, fake_redis: fakeredis.FakeRedis, write_part: Any
) -> None:
    control.look_at_all()
    fake_redis.flushall()
    write_part(0)

    control.look_at_all()

    progress = progress_of(running, ledger)
    assert (progress.status, progress.source, progress.created_at) == (
        "in_progress",
        running.source.uri,
        1_000,
    )
    assert (progress.chunks_done, progress.chunks_total) == (1, 3)


def test_a_job_that_redis_lost_right_after_its_first_chunk_was_sent_continues(
    planned: Job,
    workspace: Workspace,
    control: Control,
    ledger: Ledger,
    fake_redis: fakeredis.FakeRedis,
    storage: Storage,
    dispatcher: Dispatcher,
    settings: Settings,
) -> None:
    """Given a control loop that has not looked at all jobs since the job came."""
    ledger.open(planned.id, workspace.root, planned.kind, planned.source.uri, planned.created_at)
    ledger.planned(planned.id, 3, 5)
    ledger.ready(planned.id, 3)
    feeder = Feeder(fake_redis, ledger, storage, dispatcher, settings, lambda: 1, control.notice)
    assert feeder.feed() > 0

    fake_redis.flushall()
    control.look_at_all()

    assert progress_of(planned, ledger).status == "in_progress"


def test_a_job_that_redis_lost_and_whose_workspace_is_gone_is_forgotten(
    running: Job, workspace: Workspace, control: Control, fake_redis: fakeredis.FakeRedis
) -> None:
    control.look_at_all()
    assert set(control.known) == {running.id}
    fake_redis.flushall()
    workspace.store.delete(workspace.job_json)

    control.look_at_all()

    assert control.known == {}
    assert fake_redis.keys() == []


def test_an_ended_job_that_redis_forgot_stays_forgotten(
    read_to_the_end: Job, control: Control, ledger: Ledger, fake_redis: fakeredis.FakeRedis
) -> None:
    control.look_at_all()
    control.look_at_all()
    fake_redis.flushall()

    control.look_at_all()

    assert ledger.load(read_to_the_end.id) is None


def too_few_lines(workspace: Workspace) -> None:
    workspace.store.replace(workspace.part(1), b'{"id":"2.png"}\n')


def no_json(workspace: Workspace) -> None:
    workspace.store.replace(workspace.part(1), b"\0\0\0\0\n\0\0\0\0\n")


def no_job(workspace: Workspace) -> None:
    workspace.store.delete(workspace.job_json)


def another_job(workspace: Workspace) -> None:
    workspace.save_job(workspace.require_job().model_copy(update={"id": "other-1"}))


@pytest.mark.parametrize(
    ("break_it", "said"),
    [
        (too_few_lines, "holds 1 line for 2 items"),
        (no_json, "000001"),
        (no_job, "holds no job.json"),
        (another_job, "is now job other-1's"),
    ],
)
def test_a_job_whose_files_are_wrong_fails_and_its_workspace_says_why(
    break_it: Any, said: str, read_to_the_end: Job, workspace: Workspace, control: Control, ledger: Ledger
) -> None:
    break_it(workspace)

    control.look_at_all()

    progress = progress_of(read_to_the_end, ledger)
    assert progress.status == "failed"
    assert said in progress.error
    halt = workspace.load_halt()
    if break_it in (no_job, another_job):
        assert halt is None, "nothing is written into a place that is not the job's"
    else:
        assert halt
        assert halt.status == "failed"
        assert said in halt.message
    assert not workspace.store.exists(workspace.success)


@pytest.mark.parametrize("break_it", [too_few_lines, no_json, no_job])
def test_a_broken_job_does_not_block_the_merge_of_others(
    break_it: Any,
    read_to_the_end: Job,
    workspace: Workspace,
    tmp_path: Any,
    storage: Storage,
    control: Control,
    ledger: Ledger,
) -> None:
    other = Workspace(str(tmp_path / "other"), workspace.store)
    other.save_job(read_to_the_end.model_copy(update={"id": "crops-2"}))
    for number in range(3):
        data = workspace.store.read(workspace.part(number), 10_000)
        other.store.replace(other.part(number), data)
    ledger.open("crops-2", other.root, "recognition", "/crops", 2_000)
    break_it(workspace)

    control.look_at_all()

    progress = ledger.load("crops-2")
    assert progress
    assert progress.status == "completed"


def test_a_job_whose_storage_is_unavailable_is_checked_again(
    read_to_the_end: Job, control: Control, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(self: Workspace) -> None:
        raise StorageUnavailableError("S3 cannot be reached")

    with monkeypatch.context() as outage:
        outage.setattr(Workspace, "require_job", away)
        control.look_at_all()
    assert progress_of(read_to_the_end, ledger).status == "in_progress"

    control.look_at_all()

    assert progress_of(read_to_the_end, ledger).status == "completed"


def test_a_round_of_retries_that_is_asked_for_while_control_ends_the_job_is_read(
    running: Job,
    workspace: Workspace,
    control: Control,
    feeder: Feeder,
    ledger: Ledger,
    queue: Any,
    write_part: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # given a job with a failed item, and a retry requested as soon as the marker exists
    for number, failed in enumerate(((), ("3.png",), ())):
        write_part(number, failed=failed)

    def merge_then_retry(job: Job, workspace: Workspace, **kept: Any) -> dict[str, Any]:
        monkeypatch.undo()
        summary = merge(job, workspace, **kept)
        request_job(add_retry(job, workspace, ledger), workspace, ledger)
        return summary

    monkeypatch.setattr("producer.control.loop.merge", merge_then_retry)
    control.look_at_all()

    # then the job continues, its round is sent and its result is merged
    assert progress_of(running, ledger).status == "in_progress"
    control.look_at_all()
    feeder.feed()
    assert queue.sent == [3]
    line = RecognitionLine("3.png", "3.png", "again", 0.5)
    workspace.store.replace(workspace.part(3), encode_line(line))
    ledger.mark(running.id, 3, workspace.outcome(3), again=True)
    control.look_at_all()
    assert progress_of(running, ledger).status == "completed"
    assert b"again" in workspace.lines(workspace.results)[3]
    assert workspace.lines(workspace.errors) == []


def test_of_two_controls_only_one_holds_the_job(
    read_to_the_end: Job,
    workspace: Workspace,
    make_control: Any,
    ledger: Ledger,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    merges = []
    first, second = make_control(), make_control()

    def merge(job: Job, workspace: Workspace, **_: Any) -> dict[str, Any]:
        merges.append(job.id)
        second.look_at_all()  # while the first one merges
        return {"request_counts": {}}

    monkeypatch.setattr("producer.control.loop.merge", merge)

    first.look_at_all()

    assert merges == [read_to_the_end.id]
    assert progress_of(read_to_the_end, ledger).status == "completed"


def test_the_loop_merges_a_finished_job_and_ends_on_stop(
    read_to_the_end: Job, control: Control, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop = threading.Event()
    monkeypatch.setattr(control, "look_at_all", lambda: None)
    for number, items in enumerate((2, 2, 1)):
        ledger.mark(read_to_the_end.id, number, PartOutcome(items, 0))
    wait = ledger.next_finished

    def wait_once(timeout: float) -> str | None:
        stop.set()
        return wait(0.01)

    monkeypatch.setattr(Ledger, "next_finished", lambda self, timeout: wait_once(timeout))

    control.run(stop)

    assert progress_of(read_to_the_end, ledger).status == "completed"


def test_the_loop_survives_an_outage_of_redis(control: Control, monkeypatch: pytest.MonkeyPatch) -> None:
    stop = threading.Event()
    looks = []

    def away() -> None:
        looks.append("look")
        if len(looks) == 2:
            stop.set()
        raise redis.ConnectionError("connection refused")

    monkeypatch.setattr(control, "look_at_all", away)
    monkeypatch.setattr("producer.control.loop.PAUSE_SECONDS", 0)

    control.run(stop)

    assert len(looks) == 2
