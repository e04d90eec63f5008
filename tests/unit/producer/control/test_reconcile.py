"""The reconciler: a chunk with neither part nor message is re-sent at the second check."""

from collections import Counter
from dataclasses import replace
from typing import Any

import fakeredis
import pytest

from contract.broker.ledger import Ledger
from contract.broker.progress import Progress
from contract.job import Job, Plan
from contract.records import PartOutcome
from contract.workspace import Workspace
from producer.control.reconcile import FULL_LOOKS, QUIET_LOOKS, Reconciler
from producer.planning.submit import Dispatcher


class Looking(Reconciler):
    """A reconciler whose every look begins with the ledger, as control's does."""

    def look(self, job: Job, workspace: Workspace) -> list[int]:
        return self.reconcile(job, workspace, progress_of(job, self._ledger))


@pytest.fixture
def reconciler(ledger: Ledger, dispatcher: Dispatcher) -> Looking:
    return Looking(ledger, dispatcher)


@pytest.fixture
def running(planned: Job, workspace: Workspace, ledger: Ledger) -> Job:
    """Given a planned job that the ledger knows, with all chunks sent."""
    ledger.open(planned.id, workspace.root, planned.kind, planned.source.uri, planned.created_at)
    ledger.planned(planned.id, 3, 5, sent=True)
    ledger.plan_done(planned.id, 3, 5)
    return planned


def progress_of(job: Job, ledger: Ledger) -> Progress:
    progress = ledger.load(job.id)
    assert progress
    return progress


def test_a_chunk_that_is_missing_once_is_not_sent(
    running: Job, workspace: Workspace, reconciler: Looking, queue: Any
) -> None:
    assert reconciler.look(running, workspace) == []
    assert queue.sent == []


def test_a_chunk_that_is_missing_twice_in_a_row_is_sent(
    running: Job, workspace: Workspace, reconciler: Looking, queue: Any, write_part: Any
) -> None:
    write_part(1)
    reconciler.look(running, workspace)

    assert reconciler.look(running, workspace) == [0, 2]
    assert queue.sent == [0, 2]


def test_a_re_sent_chunk_is_sent_again_only_after_two_more_checks(
    running: Job, workspace: Workspace, reconciler: Looking, queue: Any
) -> None:
    looks = [reconciler.look(running, workspace) for _ in range(4)]

    assert looks == [[], [0, 1, 2], [], [0, 1, 2]]


def test_a_chunk_that_was_queued_in_between_is_not_sent(
    running: Job, workspace: Workspace, reconciler: Looking, queue: Any
) -> None:
    queue.waiting = {1, 2}
    reconciler.look(running, workspace)
    queue.waiting = {0, 1}

    assert reconciler.look(running, workspace) == []
    queue.waiting = {0, 1}
    assert reconciler.look(running, workspace) == [2]


def test_a_part_without_a_mark_is_marked(
    running: Job, workspace: Workspace, reconciler: Looking, ledger: Ledger, write_part: Any
) -> None:
    write_part(0, failed=("0.png",))

    reconciler.look(running, workspace)
    reconciler.look(running, workspace)

    progress = progress_of(running, ledger)
    assert (progress.chunks_done, progress.completed, progress.failed) == (1, 1, 1)


def test_a_ledger_that_lost_everything_is_filled_from_storage(
    planned: Job, workspace: Workspace, reconciler: Looking, ledger: Ledger, write_part: Any
) -> None:
    for number in range(3):
        write_part(number)
    ledger.open(planned.id, workspace.root, planned.kind, planned.source.uri, planned.created_at)

    reconciler.look(planned, workspace)

    progress = progress_of(planned, ledger)
    assert (progress.status, progress.chunks_done, progress.completed) == ("finalizing", 3, 5)


def test_while_planning_only_the_chunks_written_so_far_are_looked_for(
    planned: Job, workspace: Workspace, reconciler: Looking, ledger: Ledger, queue: Any
) -> None:
    planning = planned.model_copy(update={"plan": None})
    workspace.store.delete(workspace.chunk(2))
    ledger.open(planned.id, workspace.root, planned.kind, planned.source.uri, planned.created_at)

    assert reconciler.look(planning, workspace) == []
    assert ledger.feed(planned.id, 10) == [0, 1]
    assert [reconciler.look(planning, workspace) for _ in range(2)] == [[], [0, 1]]
    assert progress_of(planned, ledger).chunks_total is None


def test_chunks_that_were_not_sent_yet_are_not_lost_but_may_be_sent(
    planned: Job, workspace: Workspace, reconciler: Looking, ledger: Ledger, write_part: Any
) -> None:
    write_part(0)
    ledger.open(planned.id, workspace.root, planned.kind, planned.source.uri, planned.created_at)

    assert [reconciler.look(planned, workspace) for _ in range(3)] == [[], [], []]
    assert ledger.feed(planned.id, 10) == [1, 2]
    assert [reconciler.look(planned, workspace) for _ in range(2)] == [[], [1, 2]]


def test_jobs_are_checked_separately(
    running: Job, workspace: Workspace, reconciler: Looking, ledger: Ledger, queue: Any
) -> None:
    other = running.model_copy(update={"id": "crops-2"})
    ledger.open(other.id, workspace.root, other.kind, other.source.uri, other.created_at)
    reconciler.look(running, workspace)

    assert reconciler.look(other, workspace) == []


def test_a_forgotten_job_starts_over_with_two_checks(
    running: Job, workspace: Workspace, reconciler: Looking
) -> None:
    reconciler.look(running, workspace)
    reconciler.forget(running.id)
    reconciler.forget("never seen")

    assert reconciler.look(running, workspace) == []


# what the ledger has and storage has not


@pytest.fixture
def all_read(running: Job, ledger: Ledger, write_part: Any, workspace: Workspace, reconciler: Looking) -> Job:
    """Given a job whose parts are all there and marked."""
    for number in range(3):
        write_part(number, failed=("0.png",) if number == 0 else ())
    reconciler.look(running, workspace)
    assert progress_of(running, ledger).status == "finalizing"
    return running


def test_more_chunks_in_the_ledger_than_in_the_job_are_corrected(
    all_read: Job, workspace: Workspace, reconciler: Looking, ledger: Ledger
) -> None:
    ledger.plan_done(all_read.id, 4, 5)
    assert progress_of(all_read, ledger).status == "in_progress"

    reconciler.look(all_read, workspace)

    progress = progress_of(all_read, ledger)
    assert (progress.status, progress.chunks_total, progress.chunks_done) == ("finalizing", 3, 3)
    assert (progress.completed, progress.failed, len(progress.recent_errors)) == (4, 1, 1)


def test_a_chunk_that_is_marked_and_has_no_part_is_read_again(
    all_read: Job, workspace: Workspace, reconciler: Looking, ledger: Ledger, queue: Any
) -> None:
    workspace.store.delete(workspace.part(1))

    reconciler.look(all_read, workspace)
    reconciler.look(all_read, workspace)

    assert queue.sent == [1]
    assert progress_of(all_read, ledger).chunks_done == 2
    assert ledger.begin(all_read.id, 1, "cpu0@host").attempt == 1


def test_marks_that_were_never_counted_are_counted(
    running: Job, workspace: Workspace, reconciler: Looking, ledger: Ledger, write_part: Any, fake_redis: Any
) -> None:
    for number in range(3):
        write_part(number)
        fake_redis.setbit(f"trace-ocr:job:{running.id}:done", number, 1)

    reconciler.look(running, workspace)
    reconciler.look(running, workspace)

    assert progress_of(running, ledger).status == "finalizing"


def test_a_round_that_is_added_meanwhile_is_not_taken_for_a_wrong_count(
    all_read: Job, workspace: Workspace, reconciler: Looking, ledger: Ledger
) -> None:
    # given a look that began before the round
    before = progress_of(all_read, ledger)
    ledger.open(all_read.id, workspace.root, all_read.kind, all_read.source.uri, all_read.created_at)
    ledger.plan_done(all_read.id, 4, 5)

    reconciler.reconcile(all_read, workspace, before)

    assert progress_of(all_read, ledger).chunks_total == 4


def test_looking_at_a_job_is_no_sign_of_life(
    running: Job, workspace: Workspace, reconciler: Looking, ledger: Ledger, clock: Any
) -> None:
    seen = progress_of(running, ledger).updated_at
    clock.now += 900

    reconciler.look(running, workspace)
    reconciler.look(running, workspace)

    assert progress_of(running, ledger).updated_at == seen


# what a look costs


class CountingStore:
    """A store that counts its calls; it may claim to have more parts than it has."""

    def __init__(self, store: Any) -> None:
        self._store, self.calls, self.parts = store, Counter[str](), 0

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any) -> Any:
            self.calls[name] += 1
            if name == "names" and self.parts:
                return (f"{number:06d}.jsonl" for number in range(self.parts))
            return getattr(self._store, name)(*arguments)

        return call


class CountingRedis(fakeredis.FakeRedis):
    """A client that counts its commands."""

    commands = 0

    def execute_command(self, *args: Any, **options: Any) -> Any:
        type(self).commands += 1
        return super().execute_command(*args, **options)


@pytest.fixture
def counting(workspace: Workspace) -> Workspace:
    return replace(workspace, store=CountingStore(workspace.store))


def calls_of(workspace: Workspace) -> Counter[str]:
    """Return the calls since the last time."""
    store: Any = workspace.store
    calls, store.calls = store.calls, Counter[str]()
    return calls


def idle_minute(chunks: int, planned: Job, workspace: Workspace, queue: Any) -> tuple[Counter[str], int]:
    """Return the calls to storage and Redis of a minute's looks at a large job, three chunks of which run."""
    redis = CountingRedis(server=fakeredis.FakeServer(), decode_responses=True)
    ledger = Ledger(redis, "trace-ocr")
    job = planned.model_copy(update={"plan": Plan(chunks=chunks, items=chunks)})
    ledger.open(job.id, workspace.root, job.kind, job.source.uri, job.created_at)
    ledger.recount(job.id, None, chunks - 6, PartOutcome(chunks - 6, 0))
    ledger.ready(job.id, chunks)
    queue.waiting = set(ledger.feed(job.id, 3))
    assert queue.waiting == {chunks - 6, chunks - 5, chunks - 4}
    workspace.store.parts = chunks - 6  # type: ignore[attr-defined]
    reconciler = Looking(ledger, Dispatcher(lambda *_: None, lambda _: queue.waiting))
    reconciler.look(job, workspace)
    assert calls_of(workspace) == Counter(names=1)
    CountingRedis.commands = 0
    for _ in range(FULL_LOOKS - 1):
        assert reconciler.look(job, workspace) == []
    return calls_of(workspace), CountingRedis.commands


def test_looks_cost_the_same_for_any_number_of_chunks(planned: Job, counting: Workspace, queue: Any) -> None:
    few = idle_minute(10, planned, counting, queue)
    many = idle_minute(100_000, planned, counting, queue)

    assert few == many
    assert few[0] == Counter()


def test_parts_are_listed_less_often_the_more_chunks_there_are(
    running: Job, counting: Workspace, ledger: Ledger, queue: Any, clock: Any
) -> None:
    queue.waiting = {0, 1, 2}
    large = running.model_copy(update={"plan": Plan(chunks=20_000, items=40_000)})
    ledger.plan_done(running.id, 20_000, 40_000)
    reconciler = Looking(ledger, Dispatcher(lambda *_: None, lambda _: queue.waiting))

    def listings(looks: int) -> int:
        for _ in range(looks):
            clock.now += 10
            ledger.begin(running.id, 0, "cpu0@host")
            reconciler.look(large, counting)
        return calls_of(counting)["names"]

    assert [listings(looks) for looks in (1, 19, 1, 19, 1)] == [1, 0, 1, 0, 1]


def test_a_lost_message_of_a_part_that_nobody_marked_costs_no_listing(
    running: Job, counting: Workspace, ledger: Ledger, reconciler: Looking, queue: Any, write_part: Any
) -> None:
    queue.waiting = {0, 1, 2}
    reconciler.look(running, counting)
    calls_of(counting)
    # given a worker that wrote its part, and could not mark it
    write_part(1)
    queue.waiting = {0, 2}

    assert [reconciler.look(running, counting) for _ in range(2)] == [[], []]

    assert ledger.done(running.id) == {1}
    assert calls_of(counting)["names"] == 0


def test_a_part_that_no_living_worker_can_mark_is_marked_after_a_while(
    running: Job, workspace: Workspace, ledger: Ledger, reconciler: Looking, queue: Any, write_part: Any
) -> None:
    queue.waiting = {0, 1, 2}
    for _ in range(FULL_LOOKS):
        reconciler.look(running, workspace)
    ledger.begin(running.id, 1, "cpu0@host")
    reconciler.look(running, workspace)
    write_part(1)

    for _ in range(QUIET_LOOKS):
        reconciler.look(running, workspace)

    assert ledger.done(running.id) == {1}


def test_a_lost_part_is_found_at_a_full_look(
    running: Job, workspace: Workspace, ledger: Ledger, reconciler: Looking, queue: Any, write_part: Any
) -> None:
    write_part(1)
    queue.waiting = {0, 2}
    reconciler.look(running, workspace)
    workspace.store.delete(workspace.part(1))

    for _ in range(FULL_LOOKS + 2):
        reconciler.look(running, workspace)

    assert queue.sent == [1]


@pytest.mark.parametrize("lost", [True, False], ids=["flushed", "recounted"])
def test_counts_that_begin_again_are_filled_from_storage_at_once(
    lost: bool,
    running: Job,
    workspace: Workspace,
    ledger: Ledger,
    reconciler: Looking,
    queue: Any,
    write_part: Any,
    fake_redis: fakeredis.FakeRedis,
) -> None:
    queue.waiting = {0, 1, 2}
    write_part(1)
    reconciler.look(running, workspace)
    # given a worker that registered the job again after Redis was emptied, or another control process that
    # was killed in the middle of counting again
    if lost:
        fake_redis.flushall()
        ledger.open(running.id, workspace.root, running.kind, running.source.uri, running.created_at)
        ledger.plan_done(running.id, 3, 5)
    else:
        ledger.recount(running.id)

    reconciler.look(running, workspace)

    assert ledger.done(running.id) == {1}


def test_more_chunks_than_control_sends_are_compared_at_full_looks(
    running: Job, workspace: Workspace, reconciler: Looking, queue: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("producer.control.reconcile.IN_FLIGHT", 2)
    queue.waiting = {0, 1, 2}
    reconciler.look(running, workspace)
    queue.waiting = set()

    looks = [reconciler.look(running, workspace) for _ in range(FULL_LOOKS + 1)]

    assert [again for again in looks if again] == [[0, 1, 2]]


def test_a_job_that_is_paused_is_compared_once(
    running: Job, counting: Workspace, ledger: Ledger, reconciler: Looking, write_part: Any
) -> None:
    write_part(1)
    for _ in range(3):
        reconciler.mark(running, counting, progress_of(running, ledger))

    assert ledger.done(running.id) == {1}
    assert calls_of(counting)["names"] == 1
