"""The outbox: every event arrives at least once, whatever ends in between."""

import threading
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import fakeredis
import pytest
import structlog

from contract.broker.ledger import Ledger
from contract.checks import Checks
from contract.errors import StorageUnavailableError
from contract.job import Job
from contract.settings import Settings
from contract.states import State
from contract.storage import Storage
from contract.workspace import Workspace
from producer.control.loop import Control
from producer.control.removal import remove_job
from producer.notify import outbox
from producer.notify.base import DeliveryError, ReceiverGoneError, host_of
from producer.notify.events import DAY, Event, EventType, receiver_of
from producer.notify.notifier import Notifier
from producer.notify.outbox import Outbox
from producer.planning.submit import Dispatcher, request_job
from producer.results.merge import merge
from tests.unit.conftest import Clock

URL, OTHER = "https://hooks.example.org/secret", "https://other.example.org/secret"


class Killed(BaseException):
    """The process ends here."""


class Receivers:
    """What was sent, in place of the network; `answer` may raise."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, Event]] = []
        self.answer: Callable[[str], None] = lambda url: None

    def deliver(self, url: str, event: Event, settings: Settings, now: float) -> None:
        self.sent.append((url, event))
        self.answer(url)

    @property
    def types(self) -> list[str]:
        return [event.type for _, event in self.sent]


@pytest.fixture
def receivers(monkeypatch: pytest.MonkeyPatch) -> Receivers:
    found = Receivers()
    monkeypatch.setattr("producer.notify.notifier.deliver", found.deliver)
    return found


@pytest.fixture
def notified(planned: Job, workspace: Workspace) -> Job:
    """Given a planned job that names a receiver."""
    return workspace.update_job(lambda job: job.model_copy(update={"notify": (URL,)}))


@pytest.fixture
def complete(notified: Job, workspace: Workspace, write_part: Any, clock: Clock) -> Job:
    for number in range(3):
        write_part(number)
    merge(notified, workspace, now=clock.now)
    return notified


@pytest.fixture
def make(settings: Settings, storage: Storage, clock: Clock) -> Callable[[], Notifier]:
    """Return a fresh notifier, as of a restarted control."""
    return lambda: Notifier(settings, storage, clock=clock)


def delivery(workspace: Workspace, job: Job, url: str = URL) -> Any:
    ((_, event),) = Outbox(job, workspace).events()
    return event.deliveries[receiver_of(url)]


def test_the_end_of_a_job_is_told_once(
    complete: Job, workspace: Workspace, make: Callable[[], Notifier], receivers: Receivers
) -> None:
    for _ in range(3):
        notifier = make()
        notifier.announce_end(complete, workspace)
        assert notifier.settle(workspace.root, 5)

    ((url, event),) = receivers.sent
    assert (url, event.type) == (URL, EventType.COMPLETED)
    assert event.data["request_counts"] == {"total": 5, "completed": 5, "failed": 0}
    assert event.data["links"]["results"] == "/jobs/crops-1/results"
    assert b"secret" not in event.message(0.0).body


def test_low_quality_is_told_as_well(
    complete: Job, workspace: Workspace, make: Callable[[], Notifier], receivers: Receivers, clock: Clock
) -> None:
    strict = complete.model_copy(update={"checks": Checks(fail_if=("confidence<0.9",))})
    merge(strict, workspace, now=clock.now)
    notifier = make()

    notifier.announce_end(strict, workspace)
    notifier.settle(workspace.root, 5)

    assert receivers.types == [EventType.COMPLETED, EventType.QUALITY_LOW]
    assert receivers.sent[1][1].data["quality_low"] == ["confidence<0.9: the mean confidence is 0.500"]


@pytest.mark.parametrize(
    ("state", "type_"), [(State.FAILED, EventType.FAILED), (State.CANCELLED, EventType.CANCELLED)]
)
def test_other_ends_are_told_with_their_reason(
    state: State,
    type_: EventType,
    notified: Job,
    workspace: Workspace,
    settings: Settings,
    storage: Storage,
    receivers: Receivers,
) -> None:
    workspace.halt(state, "no weights")
    notifier = Notifier(settings, storage)

    notifier.announce_end(notified, workspace)
    notifier.settle(workspace.root, 5)

    assert receivers.types == [type_]
    assert receivers.sent[0][1].data["error"] == "no weights"


def test_without_a_receiver_nothing_is_written(
    planned: Job, workspace: Workspace, make: Callable[[], Notifier], write_part: Any
) -> None:
    for number in range(3):
        write_part(number)
    merge(planned, workspace)

    make().announce_end(planned, workspace)

    assert not workspace.store.exists(workspace.path("outbox"))


def test_a_kill_between_sending_and_marking_sends_again_under_the_same_id(
    complete: Job,
    workspace: Workspace,
    make: Callable[[], Notifier],
    receivers: Receivers,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make().announce_end(complete, workspace)
    with monkeypatch.context() as killing:

        def kill(*_: Any) -> None:
            raise Killed

        killing.setattr(type(workspace.store), "replace", kill)
        with pytest.raises(Killed):
            make().deliver(workspace.root)

    # a restarted control finds it by the entry below the root; Redis knows nothing
    again = make()
    again._find()
    again.settle(workspace.root, 5)
    make().settle(workspace.root, 5)

    first, second = receivers.sent
    assert first[1].id == second[1].id


def test_a_kill_before_sending_loses_nothing(
    complete: Job, workspace: Workspace, make: Callable[[], Notifier], receivers: Receivers, tmp_path: Path
) -> None:
    make().announce_end(complete, workspace)

    restarted = make()
    restarted._find()

    assert list(restarted._due) == [workspace.root]
    restarted.settle(workspace.root, 5)
    assert receivers.types == [EventType.COMPLETED]
    assert list((tmp_path / ".trace-ocr" / "outbox").iterdir()) == []


def test_a_receiver_that_fails_for_a_day_is_tried_less_and_less_and_then_given_up(
    complete: Job, workspace: Workspace, make: Callable[[], Notifier], receivers: Receivers, clock: Clock
) -> None:
    def fail(_: str) -> None:
        raise DeliveryError("answered 500")

    receivers.answer = fail
    began, notifier = clock.now, make()
    notifier.announce_end(complete, workspace)
    tries = []
    while notifier._due:
        clock.now = max(clock.now, notifier._due[workspace.root])
        tries.append(clock.now - began)
        notifier.deliver(workspace.root)

    pauses = [later - earlier for earlier, later in pairwise(tries)]
    assert pauses == sorted(pauses, key=lambda pause: round(pause, -1))
    assert pauses[0] < 6
    assert DAY <= tries[-1] < 1.25 * DAY
    assert len(tries) < 20
    assert delivery(workspace, complete).state == "given_up"


def test_it_arrives_when_the_receiver_is_back(
    complete: Job, workspace: Workspace, make: Callable[[], Notifier], receivers: Receivers, clock: Clock
) -> None:
    def fail(_: str) -> None:
        raise DeliveryError("answered 503", after=3600)

    receivers.answer, notifier = fail, make()
    notifier.announce_end(complete, workspace)
    notifier.deliver(workspace.root)
    receivers.answer = lambda url: None
    clock.now += 3599
    notifier.deliver(workspace.root)
    assert len(receivers.sent) == 1

    clock.now += 2
    notifier.deliver(workspace.root)

    assert (len(receivers.sent), delivery(workspace, complete).state) == (2, "delivered")


def test_410_ends_it_for_every_event_of_the_job_and_for_that_receiver_only(
    complete: Job, workspace: Workspace, make: Callable[[], Notifier], receivers: Receivers, clock: Clock
) -> None:
    def gone(url: str) -> None:
        if url == URL:
            raise ReceiverGoneError("410")

    receivers.answer, notifier = gone, make()
    job = workspace.update_job(lambda job: job.model_copy(update={"notify": (URL, OTHER)}))
    for type_ in (EventType.DEADLINE_AT_RISK, EventType.COMPLETED):
        notifier.announce(type_, job, workspace, clock.now, {"id": job.id})
        notifier.settle(workspace.root, 5)

    assert [url for url, _ in receivers.sent] == [URL, OTHER, OTHER]


def test_neither_logs_nor_files_show_a_receivers_token(
    complete: Job, workspace: Workspace, make: Callable[[], Notifier], receivers: Receivers
) -> None:
    def fail(_: str) -> None:
        raise DeliveryError(f"{host_of(URL)} answered 500")

    receivers.answer, notifier = fail, make()
    with structlog.testing.capture_logs() as logs:
        notifier.announce_end(complete, workspace)
        notifier.deliver(workspace.root)

    assert logs[0]["receiver"] == "https://hooks.example.org"
    events = [workspace.store.read(uri, 1 << 20) for uri, _ in Outbox(complete, workspace).events()]
    assert "secret" not in f"{logs} {events}"


def test_a_job_record_cannot_name_a_channel_that_uses_this_systems_credentials(
    complete: Job, workspace: Workspace, make: Callable[[], Notifier], receivers: Receivers
) -> None:
    forged = workspace.update_job(lambda job: job.model_copy(update={"notify": ("sns://arn:x", URL)}))
    notifier = make()

    notifier.announce_end(forged, workspace)
    notifier.settle(workspace.root, 5)

    assert [url for url, _ in receivers.sent] == [URL]


def test_a_storage_that_fails_delays_it(
    complete: Job,
    workspace: Workspace,
    make: Callable[[], Notifier],
    receivers: Receivers,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    notifier = make()
    notifier.announce_end(complete, workspace)
    with monkeypatch.context() as away:

        def fail(*_: Any) -> None:
            raise StorageUnavailableError("away")

        away.setattr(type(workspace.store), "read", fail)
        notifier.deliver(workspace.root)

    assert workspace.root in notifier._due
    assert receivers.sent == []


def test_two_control_processes_send_it_once(
    complete: Job,
    workspace: Workspace,
    settings: Settings,
    storage: Storage,
    fake_redis: fakeredis.FakeRedis,
    receivers: Receivers,
    clock: Clock,
) -> None:
    one, other = (Notifier(settings, storage, fake_redis, clock) for _ in range(2))
    receivers.answer = lambda url: other.deliver(workspace.root)
    one.announce_end(complete, workspace)

    one.deliver(workspace.root)

    assert len(receivers.sent) == 1


def test_an_entry_that_names_a_place_outside_the_roots_is_passed_over(
    make: Callable[[], Notifier], tmp_path: Path
) -> None:
    folder = tmp_path / ".trace-ocr" / "outbox"
    folder.mkdir(parents=True)
    (folder / "forged.json").write_text('{"workspace": "/etc"}')
    (folder / "broken.json").write_text("{")

    notifier = make()
    notifier._find()

    assert notifier._due == {}


class TestControl:
    """Control tells of every end, whoever brought it about, before the ledger knows of it."""

    @pytest.fixture
    def control(
        self,
        settings: Settings,
        storage: Storage,
        ledger: Ledger,
        fake_redis: fakeredis.FakeRedis,
        dispatcher: Dispatcher,
        clock: Clock,
    ) -> Control:
        control = Control(fake_redis, ledger, storage, dispatcher, settings)
        control.notifier = Notifier(settings, storage, fake_redis, clock)
        return control

    def test_a_job_that_it_completes(
        self,
        control: Control,
        notified: Job,
        workspace: Workspace,
        ledger: Ledger,
        write_part: Any,
        clock: Clock,
    ) -> None:
        request_job(notified, workspace, ledger)
        for number in range(3):
            write_part(number)

        control.look_at_all()
        control.look_at_all()

        assert [event.type for _, event in Outbox(notified, workspace).events()] == [EventType.COMPLETED]

    def test_the_event_is_there_before_the_ledger_says_completed(
        self,
        control: Control,
        notified: Job,
        workspace: Workspace,
        ledger: Ledger,
        write_part: Any,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        request_job(notified, workspace, ledger)
        for number in range(3):
            write_part(number)

        def kill(*_: Any, **__: Any) -> None:
            raise Killed

        monkeypatch.setattr(ledger, "finish", kill)
        with pytest.raises(Killed):
            control.look_at_all()

        assert len(list(Outbox(notified, workspace).events())) == 1

    def test_a_job_that_a_worker_has_failed(
        self,
        control: Control,
        notified: Job,
        workspace: Workspace,
        ledger: Ledger,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr("producer.control.loop.time.time", lambda: 1_000.0)
        request_job(notified, workspace, ledger)
        workspace.halt(State.FAILED, "no weights")
        ledger.finish(notified.id, State.FAILED, 1_000, "no weights")

        control.look_at_all()
        control.notifier._threads.shutdown(wait=True)

        ((_, event),) = Outbox(notified, workspace).events()
        assert (event.type, event.data["error"]) == (EventType.FAILED, "no weights")

    def test_gc_removes_the_events(
        self, notified: Job, workspace: Workspace, settings: Settings, storage: Storage, tmp_path: Path
    ) -> None:
        workspace.halt(State.CANCELLED)
        notifier = Notifier(settings, storage)
        notifier.announce_end(notified, workspace)

        remove_job(notified, workspace, None)
        notifier._find()

        assert not list(workspace.store.names(workspace.path("outbox")))
        assert not list((tmp_path / ".trace-ocr" / "outbox").iterdir())


def test_the_loop_sends_what_is_due_and_stops(
    complete: Job, workspace: Workspace, make: Callable[[], Notifier], receivers: Receivers
) -> None:
    notifier, stop = make(), threading.Event()
    receivers.answer = lambda url: stop.set()
    notifier.announce_end(complete, workspace)

    notifier.run(stop)

    assert receivers.types == [EventType.COMPLETED]


def test_pauses_add_up_to_a_day() -> None:
    assert 0.95 * DAY < sum(outbox.PAUSES) < 1.1 * DAY
