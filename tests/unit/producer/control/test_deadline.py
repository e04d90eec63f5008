"""At the deadline of a job that may end in part: what was not read is an error, and can be retried."""

import json
import time
from typing import Any

import msgspec
import pytest

from contract.broker.ledger import Ledger
from contract.job import Job
from contract.lines import encode_lines
from contract.settings import Settings
from contract.storage import Storage
from contract.workspace import Workspace
from producer.control.deadline import end_at_deadline
from producer.control.loop import Control
from producer.control.risk import RiskWatch
from producer.control.steer import add_retry
from producer.notify.notifier import Notifier
from producer.notify.outbox import Outbox
from producer.planning.submit import Dispatcher


@pytest.fixture
def due(planned: Job, workspace: Workspace, ledger: Ledger) -> Job:
    """Given a job whose deadline is over, with all chunks sent."""
    due = planned.model_copy(update={"deadline": int(time.time()) - 1, "at_deadline": "partial"})
    workspace.save_job(due)
    ledger.open(due.id, workspace.root, due.kind, due.source.uri, due.created_at, order=due.order())
    ledger.planned(due.id, 3, 5, sent=True)
    ledger.plan_done(due.id, 3, 5)
    return due


@pytest.fixture
def control(fake_redis: Any, ledger: Ledger, storage: Any, dispatcher: Dispatcher, settings: Any) -> Control:
    return Control(fake_redis, ledger, storage, dispatcher, settings)


def test_what_was_not_read_becomes_errors_and_the_rest_is_merged(
    due: Job, workspace: Workspace, control: Control, ledger: Ledger, write_part: Any
) -> None:
    write_part(1)
    described = [
        msgspec.structs.replace(item, metadata=msgspec.Raw(b'{"n":1}')) for item in workspace.items(0)
    ]
    workspace.store.replace(workspace.chunk(0), encode_lines(described))

    control.look_at_all()

    progress = ledger.load(due.id)
    assert progress
    assert (progress.status, progress.completed, progress.failed) == ("completed", 2, 3)
    errors = [json.loads(line) for line in workspace.lines(workspace.errors)]
    assert [(line["id"], line["error"]["code"]) for line in errors] == [
        ("0.png", "deadline"), ("1.png", "deadline"), ("4.png", "deadline"),
    ]  # fmt: skip
    assert [line.get("metadata") for line in errors] == [{"n": 1}, {"n": 1}, None]


def test_a_retry_reads_them_without_the_deadline(
    due: Job, workspace: Workspace, control: Control, ledger: Ledger
) -> None:
    control.look_at_all()

    retried = add_retry(due, workspace, ledger)

    assert (retried.deadline, retried.retries[0].items) == (None, 5)
    assert end_at_deadline(retried, workspace, time.time()) == 0


def test_a_part_that_is_written_stays(due: Job, workspace: Workspace, write_part: Any) -> None:
    for number in range(3):
        write_part(number)
    before = [workspace.lines(workspace.part(number)) for number in range(3)]

    assert end_at_deadline(due, workspace, time.time()) == 0
    assert [workspace.lines(workspace.part(number)) for number in range(3)] == before


@pytest.mark.parametrize(
    "update",
    [{"at_deadline": "continue"}, {"deadline": None}, {"deadline": 4_000_000_000}, {"plan": None}],
)
def test_other_jobs_go_on(update: dict[str, Any], due: Job, workspace: Workspace) -> None:
    assert end_at_deadline(due.model_copy(update=update), workspace, time.time()) == 0
    assert not workspace.part_numbers()


def test_somebody_is_told_once_of_a_job_that_will_be_late(
    due: Job,
    workspace: Workspace,
    ledger: Ledger,
    fake_redis: Any,
    settings: Settings,
    storage: Storage,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = time.time()
    late = due.model_copy(
        update={"deadline": int(now) + 600, "at_deadline": "continue", "notify": ("https://told.example/",)}
    )
    ledger.open(late.id, workspace.root, late.kind, "s", late.created_at, order=late.order())
    progress = ledger.load(late.id)
    assert progress

    def look_at(watch: RiskWatch, at: float) -> list[tuple[str, object]]:
        monkeypatch.setattr("producer.control.risk.time.time", lambda: at)
        watch.look(late, workspace, progress)
        return [(event.type, event.data["deadline"]) for _, event in Outbox(late, workspace).events()]

    # no worker is alive: at first that may pass
    watch = RiskWatch(fake_redis, settings, Notifier(settings, storage, fake_redis))
    assert look_at(watch, now) == []
    told = [("job.deadline_at_risk", late.deadline)]
    assert look_at(watch, now + 61) == look_at(watch, now + 200) == told

    # another control process, or a restarted one, does not repeat it
    again = RiskWatch(fake_redis, settings, Notifier(settings, storage, fake_redis))
    assert look_at(again, now + 300) == look_at(again, now + 400) == told
