"""The ledger: every transition may be repeated, and each is counted and reported once."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import fakeredis
import pytest

from contract.broker.ledger import Begin, Ledger
from contract.broker.progress import Progress
from contract.errors import WorkspaceConflictError
from contract.job_status import Running
from contract.records import PartOutcome
from contract.states import CLAIMABLE, ENDED, TRANSITIONS, Event, State

JOB = "crops-1"
WORKSPACE = "/data/out"


@pytest.fixture
def opened(ledger: Ledger) -> Ledger:
    """Given a ledger that knows one job."""
    ledger.open(JOB, WORKSPACE, "recognition", "/data/crops", 1_000)
    return ledger


@pytest.fixture
def planned(opened: Ledger) -> Ledger:
    """Given one job, planned to its end: 5 items in 3 chunks."""
    opened.plan_done(JOB, 3, 5)
    return opened


def load(ledger: Ledger) -> Progress:
    progress = ledger.load(JOB)
    assert progress
    return progress


def test_a_job_that_is_opened_while_expired_ones_leave_the_index_stays_listed(
    planned: Ledger, fake_redis: fakeredis.FakeRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a job whose record has expired, and which is opened again between the look and the removal
    fake_redis.delete(f"trace-ocr:job:{JOB}")
    run = planned._run

    def opened_before(transition: str, *arguments: object) -> object:
        if transition == "unlist":
            run("open", JOB, WORKSPACE, "recognition", "/data/crops", 1_000)
        return run(transition, *arguments)

    monkeypatch.setattr(planned, "_run", opened_before)
    planned.jobs()

    assert planned.jobs() == [JOB]


def test_what_an_expired_record_leaves_behind_does_not_count_for_the_next_job(
    planned: Ledger, fake_redis: fakeredis.FakeRedis
) -> None:
    mark_all(planned)
    fake_redis.delete(f"trace-ocr:job:{JOB}")

    planned.open(JOB, WORKSPACE, "recognition", "/data/crops", 1_000)

    assert planned.begin(JOB, 0, "cpu0@host").attempt == 1


def finished(redis: fakeredis.FakeRedis) -> list[str]:
    """Return the jobs reported as finished and not yet taken up."""
    return redis.lrange("trace-ocr:finished", 0, -1)


def mark_all(ledger: Ledger) -> None:
    for chunk, items in enumerate((2, 2, 1)):
        ledger.mark(JOB, chunk, PartOutcome(items, 0))


# the table of transitions


EVENTS: dict[Event, Callable[[Ledger], object]] = {
    Event.OPEN: lambda ledger: ledger.open(JOB, WORKSPACE, "recognition", "/data/crops", 1_000),
    Event.PLAN: lambda ledger: ledger.planned(JOB, 1, 2),
    Event.DRAIN: lambda ledger: [ledger.mark(JOB, chunk, PartOutcome(1, 0)) for chunk in range(3)],
    Event.PAUSE: lambda ledger: ledger.hold(JOB, State.PAUSED),
    Event.CANCEL: lambda ledger: ledger.hold(JOB, State.CANCELLING),
    Event.STOP: lambda ledger: ledger.finish(JOB, State.CANCELLED, 60),
    Event.COMPLETE: lambda ledger: ledger.finish(JOB, State.COMPLETED, 60),
    Event.FAIL: lambda ledger: ledger.finish(JOB, State.FAILED, 60),
}
"""What the callers do at each event; `grow` comes with `plan` in one call, and is tested by itself."""


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("before", State)
def test_each_event_leads_from_each_state_where_the_table_says(
    before: State, event: Event, planned: Ledger, fake_redis: fakeredis.FakeRedis
) -> None:
    fake_redis.hset(f"trace-ocr:job:{JOB}", "status", before)

    answer = EVENTS[event](planned)

    after = TRANSITIONS[event].get(before)
    assert load(planned).status is (after or before)
    assert (f"{after}_at" in load(planned).timestamps) is (after is not None)
    if isinstance(answer, bool):
        assert answer is (after is not None)


@pytest.mark.parametrize("before", State)
def test_a_round_of_retries_leads_from_each_state_where_the_table_says(
    before: State, planned: Ledger, fake_redis: fakeredis.FakeRedis
) -> None:
    fake_redis.hset(f"trace-ocr:job:{JOB}", "status", before)

    planned.plan_done(JOB, 4, 5)

    moves = TRANSITIONS[Event.PLAN] | TRANSITIONS[Event.GROW]
    assert load(planned).status is moves.get(before, before)


# open


def test_an_opened_job_is_validating(opened: Ledger) -> None:
    progress = load(opened)

    assert (progress.status, progress.workspace, progress.kind) == ("validating", WORKSPACE, "recognition")
    assert (progress.source, progress.created_at) == ("/data/crops", 1_000)
    assert opened.jobs() == [JOB]


def test_opening_again_changes_nothing_but_the_count_of_it(planned: Ledger) -> None:
    planned.mark(JOB, 0, PartOutcome(2, 0))
    before = load(planned)

    planned.open(JOB, WORKSPACE, "recognition", "/data/crops", 1_000)

    after = load(planned)
    assert after.count_id != before.count_id
    assert after == replace(before, submissions=before.submissions + 1, count_id=after.count_id)


def test_an_id_that_another_workspace_has_is_refused_and_its_workspace_named(opened: Ledger) -> None:
    with pytest.raises(WorkspaceConflictError, match=WORKSPACE):
        opened.open(JOB, "/data/elsewhere", "recognition", "/data/crops", 1_000)

    assert load(opened).workspace == WORKSPACE


@pytest.mark.parametrize("status", sorted(ENDED))
def test_an_ended_job_that_is_opened_runs_again(
    status: str, planned: Ledger, fake_redis: fakeredis.FakeRedis
) -> None:
    planned.finish(JOB, status, 60, "no weights")

    planned.open(JOB, WORKSPACE, "recognition", "/data/crops", 1_000)

    progress = load(planned)
    assert (progress.status, progress.error) == ("validating", "")
    assert f"{status}_at" not in progress.timestamps
    assert {fake_redis.ttl(key) for key in fake_redis.keys("*")} == {-1}


def test_an_ended_job_that_is_opened_believes_storage_and_not_what_it_remembers(planned: Ledger) -> None:
    # Its part may have been deleted so that its chunk is read again, as the merge's message advises.
    mark_all(planned)
    planned.finish(JOB, "failed", 60, "a part holds too few lines")

    planned.open(JOB, WORKSPACE, "recognition", "/data/crops", 1_000)

    progress = load(planned)
    assert (progress.chunks_done, progress.completed, progress.failed) == (0, 0, 0)
    assert planned.done(JOB) == set()
    assert planned.plan_done(JOB, 3, 5) is False
    assert planned.begin(JOB, 1, "cpu0@host").attempt == 1


# planned, plan_done


def test_planning_runs_the_job_and_counts_what_is_planned_so_far(opened: Ledger) -> None:
    opened.planned(JOB, 1, 2)
    opened.planned(JOB, 2, 4)

    progress = load(opened)
    assert (progress.status, progress.chunks_planned, progress.items_planned) == ("in_progress", 2, 4)
    assert (progress.chunks_total, progress.items_total) == (None, None)


def test_a_late_count_does_not_shrink_the_plan(opened: Ledger) -> None:
    opened.planned(JOB, 2, 4)

    opened.planned(JOB, 1, 2)

    assert load(opened).chunks_planned == 2


def test_a_plan_that_is_done_has_totals(planned: Ledger) -> None:
    progress = load(planned)

    assert (progress.status, progress.chunks_total, progress.items_total) == ("in_progress", 3, 5)


def test_a_plan_that_ends_after_its_chunks_finishes_the_job_once(
    opened: Ledger, fake_redis: fakeredis.FakeRedis
) -> None:
    mark_all(opened)

    assert opened.plan_done(JOB, 3, 5) is True
    assert opened.plan_done(JOB, 3, 5) is False
    assert finished(fake_redis) == [JOB]


def test_a_plan_from_before_a_round_of_retries_changes_nothing(
    planned: Ledger, fake_redis: fakeredis.FakeRedis
) -> None:
    planned.plan_done(JOB, 4, 5)
    mark_all(planned)

    assert planned.plan_done(JOB, 3, 5) is False

    assert (load(planned).status, load(planned).chunks_total) == ("in_progress", 4)
    assert finished(fake_redis) == []


def test_a_job_about_to_be_merged_goes_on_with_a_round_of_retries(
    planned: Ledger, fake_redis: fakeredis.FakeRedis
) -> None:
    mark_all(planned)
    assert load(planned).status == "finalizing"

    planned.plan_done(JOB, 4, 5)

    assert planned.begin(JOB, 3, "gpu0@host") == Begin("in_progress", 1)
    planned.mark(JOB, 3, PartOutcome(1, 0), again=True)
    assert load(planned).status == "finalizing"
    assert finished(fake_redis) == [JOB, JOB]


# begin, progress, hand_back


def test_the_first_run_of_a_chunk_is_attempt_1(planned: Ledger) -> None:
    assert planned.begin(JOB, 0, "gpu0@host") == Begin("in_progress", 1)
    assert load(planned).running == (Running(0, 0, 1_000.0, "gpu0@host"),)


def test_attempts_count_the_runs_that_began(planned: Ledger) -> None:
    planned.begin(JOB, 0, "gpu0@host")

    assert planned.begin(JOB, 0, "gpu1@host").attempt == 2
    assert planned.attempts(JOB, 0) == 2
    assert planned.attempts(JOB, 1) == 0


def test_a_chunk_that_is_done_does_not_begin(planned: Ledger) -> None:
    planned.mark(JOB, 0, PartOutcome(2, 0))

    assert planned.begin(JOB, 0, "gpu0@host").attempt == 0
    assert load(planned).running == ()


@pytest.mark.parametrize("state", State)
def test_a_chunk_begins_only_while_its_job_may_be_worked_on(
    state: State, planned: Ledger, fake_redis: fakeredis.FakeRedis
) -> None:
    fake_redis.hset(f"trace-ocr:job:{JOB}", "status", state)

    assert planned.begin(JOB, 0, "cpu0@host") == Begin(state, 1 if state in CLAIMABLE else -1)
    assert planned.attempts(JOB, 0) == (state in CLAIMABLE)


@pytest.mark.parametrize("status", ["paused", "cancelling"])
def test_a_job_that_is_held_runs_again_when_it_is_opened(status: str, planned: Ledger) -> None:
    planned.hold(JOB, status)

    planned.open(JOB, WORKSPACE, "recognition", "/data/crops", 1_000)

    assert planned.begin(JOB, 0, "gpu0@host") == Begin("validating", 1)


def test_a_chunk_of_a_job_that_redis_lost_begins_unknown(
    ledger: Ledger, fake_redis: fakeredis.FakeRedis
) -> None:
    assert ledger.begin(JOB, 3, "gpu0@host") == Begin("unknown", -1)

    assert fake_redis.keys("*") == []


def test_progress_says_how_many_items_are_read_and_when(planned: Ledger, clock: Any) -> None:
    planned.begin(JOB, 0, "gpu 0@host")
    clock.now = 1_010

    planned.progress(JOB, 0, 128, "gpu 0@host")

    assert load(planned).running == (Running(0, 128, 1_010.0, "gpu 0@host"),)
    assert load(planned).updated_at == 1_010


def test_progress_that_comes_after_the_mark_is_not_noted(planned: Ledger) -> None:
    planned.begin(JOB, 0, "gpu0@host")
    planned.mark(JOB, 0, PartOutcome(2, 0))

    planned.progress(JOB, 0, 2, "gpu0@host")

    assert load(planned).running == ()


@pytest.mark.parametrize("end", [State.FAILED, State.CANCELLED])
def test_an_ended_job_has_no_chunk_in_hand(
    end: State, planned: Ledger, fake_redis: fakeredis.FakeRedis
) -> None:
    """Given a worker that has not noticed yet."""
    planned.begin(JOB, 0, "gpu0@host")

    fake_redis.hset(f"trace-ocr:job:{JOB}", "status", end)

    assert load(planned).running == ()


def test_a_run_that_is_handed_back_does_not_count(planned: Ledger) -> None:
    planned.begin(JOB, 0, "gpu0@host")

    planned.hand_back(JOB, 0)
    planned.hand_back(JOB, 0)

    assert (planned.attempts(JOB, 0), load(planned).running) == (0, ())
    assert planned.begin(JOB, 0, "gpu0@host").attempt == 1


def test_handing_back_what_was_never_begun_changes_nothing(planned: Ledger) -> None:
    planned.hand_back(JOB, 0)

    assert planned.attempts(JOB, 0) == 0


# mark


def test_a_marked_chunk_is_done_and_counted(planned: Ledger) -> None:
    planned.begin(JOB, 0, "gpu0@host")

    assert planned.mark(JOB, 0, PartOutcome(1, 1)) is True

    progress = load(planned)
    assert (progress.chunks_done, progress.completed, progress.failed) == (1, 1, 1)
    assert planned.done(JOB) == {0}
    assert (progress.running, planned.attempts(JOB, 0)) == ((), 0)


def test_a_chunk_that_is_marked_twice_counts_once(planned: Ledger) -> None:
    planned.mark(JOB, 0, PartOutcome(2, 0))

    assert planned.mark(JOB, 0, PartOutcome(2, 0)) is False

    assert (load(planned).chunks_done, load(planned).completed) == (1, 2)


def test_items_that_are_read_again_are_no_longer_counted_as_failed(planned: Ledger) -> None:
    planned.mark(JOB, 0, PartOutcome(0, 2))

    planned.mark(JOB, 3, PartOutcome(1, 1), again=True)

    assert (load(planned).completed, load(planned).failed) == (1, 1)


def test_the_last_mark_reports_the_job_exactly_once(planned: Ledger, fake_redis: fakeredis.FakeRedis) -> None:
    planned.mark(JOB, 0, PartOutcome(2, 0))
    planned.mark(JOB, 1, PartOutcome(2, 0))
    assert finished(fake_redis) == []

    planned.mark(JOB, 2, PartOutcome(1, 0))
    planned.mark(JOB, 2, PartOutcome(1, 0))

    assert finished(fake_redis) == [JOB]
    assert load(planned).status == "finalizing"


def test_a_mark_of_a_job_that_redis_lost_does_not_raise_it_again(
    ledger: Ledger, fake_redis: fakeredis.FakeRedis
) -> None:
    assert ledger.mark(JOB, 0, PartOutcome(2, 0)) is False

    assert ledger.load(JOB) is None
    assert fake_redis.keys("*") == []


@pytest.mark.parametrize(
    "transition", ["planned", "plan_done", "progress", "hand_back", "recount", "hold", "finish"]
)
def test_no_other_transition_raises_a_job_that_redis_lost(
    transition: str, ledger: Ledger, fake_redis: fakeredis.FakeRedis
) -> None:
    arguments = {
        "planned": (1, 2),
        "plan_done": (1, 2),
        "progress": (0, 1, "gpu0@host"),
        "hand_back": (0,),
        "recount": (),
        "hold": ("paused",),
        "finish": ("completed", 60),
    }

    getattr(ledger, transition)(JOB, *arguments[transition])

    assert fake_redis.keys("*") == []


# finish


def test_a_finished_job_has_its_status_its_time_and_its_reason(planned: Ledger, clock: Any) -> None:
    clock.now = 1_500

    assert planned.finish(JOB, "failed", 60, "no weights") is True

    progress = load(planned)
    assert (progress.status, progress.error) == ("failed", "no weights")
    assert progress.timestamps["failed_at"] == 1_500


def test_a_job_ends_once(planned: Ledger) -> None:
    planned.finish(JOB, "completed", 60)

    assert planned.finish(JOB, "failed", 60, "too late") is False
    assert (load(planned).status, load(planned).error) == ("completed", "")


def test_a_job_that_was_submitted_again_since_it_was_looked_at_does_not_end(
    planned: Ledger, fake_redis: fakeredis.FakeRedis
) -> None:
    seen = load(planned).submissions
    planned.open(JOB, WORKSPACE, "recognition", "/data/crops", 1_000)

    assert planned.finish(JOB, "completed", 60, submissions=seen) is False

    assert load(planned).status == "in_progress"
    assert finished(fake_redis) == [JOB]
    assert planned.finish(JOB, "completed", 60, submissions=load(planned).submissions) is True


def test_submissions_are_counted_past_a_jobs_end(planned: Ledger) -> None:
    seen = load(planned).submissions
    planned.finish(JOB, "completed", 60)

    planned.open(JOB, WORKSPACE, "recognition", "/data/crops", 1_000)

    assert load(planned).submissions == seen + 1


def test_a_job_of_an_older_version_whose_submissions_nobody_counted_ends(
    planned: Ledger, fake_redis: fakeredis.FakeRedis
) -> None:
    fake_redis.hdel(f"trace-ocr:job:{JOB}", "submissions")

    assert planned.finish(JOB, "completed", 60, submissions=load(planned).submissions) is True


def test_redis_forgets_all_of_an_ended_job_after_its_retention(
    planned: Ledger, fake_redis: fakeredis.FakeRedis
) -> None:
    planned.begin(JOB, 1, "gpu0@host")
    planned.begin(JOB, 2, "gpu0@host")
    planned.mark(JOB, 0, PartOutcome(2, 0))

    planned.finish(JOB, "failed", 60)
    planned.mark(JOB, 1, PartOutcome(2, 0))
    planned.hand_back(JOB, 2)

    assert {fake_redis.ttl(key) for key in fake_redis.keys("trace-ocr:job:*")} == {60}


def test_a_chunk_that_ends_after_its_job_leaves_nothing_behind_for_ever(
    planned: Ledger, fake_redis: fakeredis.FakeRedis
) -> None:
    planned.begin(JOB, 0, "gpu0@host")
    planned.finish(JOB, "failed", 60)

    planned.mark(JOB, 0, PartOutcome(2, 0))

    assert {key for key in fake_redis.keys("trace-ocr:job:*") if fake_redis.ttl(key) == -1} == set()


def test_a_job_that_redis_forgot_is_no_longer_listed(
    planned: Ledger, fake_redis: fakeredis.FakeRedis
) -> None:
    fake_redis.delete(f"trace-ocr:job:{JOB}")

    assert planned.jobs() == []
    assert fake_redis.zcard("trace-ocr:jobs") == 0


# reads


def test_jobs_come_oldest_first(ledger: Ledger) -> None:
    for job, created_at in (("new", 3_000), ("old", 1_000), ("middle", 2_000)):
        ledger.open(job, f"/data/{job}", "recognition", "/data/crops", created_at)

    assert ledger.jobs() == ["old", "middle", "new"]


def test_the_statuses_of_all_jobs_come_newest_first_without_those_that_are_gone(
    planned: Ledger, fake_redis: fakeredis.FakeRedis
) -> None:
    planned.open("newer", "/data/newer", "recognition", "/data/crops", 2_000)
    planned.open("gone", "/data/gone", "recognition", "/data/crops", 3_000)
    fake_redis.delete("trace-ocr:job:gone")

    assert list(planned.statuses().items()) == [("newer", "validating"), (JOB, "in_progress")]


def test_a_job_that_nobody_opened_is_not_known(ledger: Ledger) -> None:
    assert ledger.load("other") is None


def test_a_finished_job_is_handed_to_one_who_waits(planned: Ledger) -> None:
    mark_all(planned)

    assert planned.next_finished(0.01) == JOB
    assert planned.next_finished(0.01) is None


def test_two_namespaces_do_not_see_each_other(planned: Ledger, fake_redis: fakeredis.FakeRedis) -> None:
    other = Ledger(fake_redis, "other")

    assert (other.jobs(), other.load(JOB)) == ([], None)


def test_the_rate_is_that_of_the_newest_marks_up_to_now(planned: Ledger, clock: Any) -> None:
    for chunk, at in enumerate((1_000, 1_010, 1_020)):
        clock.now = at
        planned.mark(JOB, chunk, PartOutcome(100, 0))
    clock.now = 1_040

    # 200 items since the first mark, which only starts the clock, 40 seconds ago.
    assert load(planned).items_per_second == 5.0


def test_there_is_no_rate_before_the_second_mark(planned: Ledger) -> None:
    planned.mark(JOB, 0, PartOutcome(100, 0))

    assert load(planned).items_per_second is None


def test_redis_holds_no_more_than_a_bit_for_each_chunk_that_is_done(
    opened: Ledger, fake_redis: fakeredis.FakeRedis
) -> None:
    for chunk in range(200):
        opened.begin(JOB, chunk, "gpu0@host")
        opened.mark(JOB, chunk, PartOutcome(1_024, 0))

    record = f"trace-ocr:job:{JOB}"
    assert fake_redis.strlen(f"{record}:done") == 25
    assert fake_redis.llen(f"{record}:rate") == 64
    assert not fake_redis.exists(f"{record}:running", f"{record}:attempts")
