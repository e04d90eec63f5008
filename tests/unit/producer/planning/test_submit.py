"""Submitting: a new job, a job continued, and a job that cannot be planned."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from contract.broker.ledger import Ledger
from contract.errors import ErrorCode, JobError, JobHaltedError, SourceError, WorkspaceConflictError
from contract.job import Job
from contract.kinds.recognition import RecognitionParameters
from contract.lines import ErrorLine, Failure, encode_line
from contract.records import Item
from contract.source import Source
from contract.states import State
from contract.workspace import Workspace
from producer.control.removal import remove_job
from producer.control.steer import add_retry, cancel_job
from producer.planning.plan import write_chunk
from producer.planning.submit import Dispatcher, finished, plan_and_send, settle_job, submit_job
from producer.results.merge import merge
from producer.sources.base import Listing


def listing(*ids: str) -> Listing:
    return Listing((Item(identity, f"/crops/{identity}") for identity in ids), Counter())


# settle_job


def test_a_new_workspace_takes_the_job(job: Job, workspace: Workspace) -> None:
    assert settle_job(job, workspace) == job
    assert workspace.load_job() == job


def test_the_same_parameters_continue_the_workspaces_job(job: Job, workspace: Workspace) -> None:
    settle_job(job, workspace)

    again = settle_job(job.model_copy(update={"id": "crops-2", "created_at": 2_000}), workspace)

    assert again == job


def test_a_job_continued_with_another_batch_size_uses_it(job: Job, workspace: Workspace) -> None:
    settle_job(job, workspace)
    smaller = RecognitionParameters(recognition_batch_size=2)

    again = settle_job(job.model_copy(update={"id": "crops-2", "parameters": smaller}), workspace)

    assert again == job.model_copy(update={"parameters": smaller}) == workspace.load_job()


@pytest.mark.parametrize(
    ("update", "said"),
    [
        (
            {"parameters": RecognitionParameters(recognition_model="parseq", recognition_batch_size=4)},
            "recognition_model is 'crnn_vgg16_bn', not 'parseq'",
        ),
        ({"chunk_size": 3}, "chunk_size is 2, not 3"),
        ({"source": Source(type="prefix", uri="s3://bucket/b/")}, "not 's3://bucket/b/'"),
    ],
)
def test_other_parameters_are_refused_and_named(
    update: dict[str, Any], said: str, job: Job, workspace: Workspace
) -> None:
    settle_job(job, workspace)

    with pytest.raises(WorkspaceConflictError) as raised:
        settle_job(job.model_copy(update=update), workspace)

    assert said in str(raised.value)
    assert f"{workspace.root} belongs to job crops-1" in str(raised.value)
    assert workspace.load_job() == job


def test_a_job_without_a_chunk_is_refused_with_how_to_remove_it(job: Job, workspace: Workspace) -> None:
    # given what a mistyped source leaves behind
    settle_job(job, workspace)
    other = job.model_copy(update={"chunk_size": 3})

    with pytest.raises(WorkspaceConflictError, match=f"`trace-ocr gc {workspace.root}` remove it"):
        settle_job(other, workspace)

    # but nothing that was planned is to be removed for that
    write_chunk(workspace, 0, [Item("a.png", "/crops/a.png")])
    with pytest.raises(WorkspaceConflictError) as refused:
        settle_job(other, workspace)
    assert "gc" not in str(refused.value)


def test_only_what_differs_is_named(job: Job, workspace: Workspace) -> None:
    settle_job(job, workspace)

    with pytest.raises(WorkspaceConflictError) as raised:
        settle_job(job.model_copy(update={"chunk_size": 3}), workspace)

    assert "recognition_model" not in str(raised.value)


@pytest.mark.parametrize("cut", [1, -2])
def test_a_damaged_job_is_not_overwritten(cut: int, job: Job, workspace: Workspace) -> None:
    data = job.to_json().replace(b'"chunk_size": 2', b'"chunk_size": "two"')[:cut]
    workspace.store.replace(workspace.job_json, data)

    with pytest.raises((JobError, WorkspaceConflictError)):
        settle_job(job, workspace)

    assert workspace.store.read(workspace.job_json, 10_000) == data


# submit_job


def submit(job: Job, workspace: Workspace, listing: Listing, ledger: Ledger, dispatcher: Dispatcher) -> Job:
    """Submit a job as the command does."""
    return submit_job(settle_job(job, workspace), workspace, listing, ledger, dispatcher)


def test_a_new_job_is_planned_and_all_of_it_is_sent(
    job: Job, workspace: Workspace, ledger: Ledger, dispatcher: Dispatcher, queue: Any
) -> None:
    planned = submit(job, workspace, listing("a", "b", "c"), ledger, dispatcher)

    assert queue.sent == [0, 1]
    assert planned.plan
    assert (planned.plan.chunks, planned.plan.items) == (2, 3)
    assert workspace.load_job() == planned
    progress = ledger.load(job.id)
    assert progress
    assert (progress.status, progress.chunks_total, progress.items_total) == ("in_progress", 2, 3)


def test_while_control_is_alive_it_is_left_to_control_to_send_the_chunks(
    job: Job, workspace: Workspace, ledger: Ledger, dispatcher: Dispatcher, queue: Any
) -> None:
    fed = replace(dispatcher, control_feeds=lambda: True)

    planned = submit(job, workspace, listing("a", "b", "c"), ledger, fed)

    assert queue.sent == []
    assert [(one.job, one.unsent) for one in ledger.line()] == [(planned.id, 2)]
    assert ledger.feed(planned.id, 10) == [0, 1]


def test_what_a_submission_sends_itself_is_not_in_the_line(
    job: Job, workspace: Workspace, ledger: Ledger, dispatcher: Dispatcher, queue: Any
) -> None:
    planned = submit(job, workspace, listing("a", "b", "c"), ledger, dispatcher)

    ledger.ready(planned.id, 2)

    assert (queue.sent, ledger.line(), ledger.feed(planned.id, 10)) == ([0, 1], [], [])


def test_the_first_chunk_is_sent_while_the_source_is_still_listed(
    job: Job, workspace: Workspace, ledger: Ledger, dispatcher: Dispatcher, queue: Any
) -> None:
    sent_when_listed = []

    def slow() -> Iterator[Item]:
        for n in range(4):
            sent_when_listed.append(list(queue.sent))
            yield Item(str(n), f"/{n}")

    submit(job, workspace, Listing(slow(), Counter()), ledger, dispatcher)

    assert sent_when_listed == [[], [], [0], [0]]


def test_a_chunk_that_another_submission_has_written_is_not_sent(
    job: Job, workspace: Workspace, ledger: Ledger, dispatcher: Dispatcher, queue: Any
) -> None:
    def beside_another() -> Iterator[Item]:
        for item in (Item(name, f"/crops/{name}") for name in "abcd"):
            if item.id == "c":
                write_chunk(workspace, 1, [Item("c", "/crops/c"), Item("d", "/crops/d")])
            yield item

    submit(job, workspace, Listing(beside_another(), Counter()), ledger, dispatcher)

    assert queue.sent == [0]


def test_continuing_sends_only_what_has_no_part_and_does_not_wait(
    planned: Job, workspace: Workspace, ledger: Ledger, dispatcher: Dispatcher, queue: Any, write_part: Any
) -> None:
    write_part(0, failed=("1.png",))
    queue.waiting = {1}

    submit_job(planned, workspace, listing(), ledger, dispatcher)

    assert queue.sent == [2]
    progress = ledger.load(planned.id)
    assert progress
    assert (progress.chunks_done, progress.completed, progress.failed) == (1, 1, 1)
    assert (progress.chunks_total, progress.items_planned) == (3, 5)


def test_continuing_a_job_whose_parts_are_all_there_finishes_it(
    planned: Job, workspace: Workspace, ledger: Ledger, dispatcher: Dispatcher, queue: Any, write_part: Any
) -> None:
    for number in range(3):
        write_part(number)

    submit_job(planned, workspace, listing(), ledger, dispatcher)

    assert queue.sent == []
    assert ledger.next_finished(0.01) == planned.id


def test_continuing_an_interrupted_plan_sends_the_rest(
    job: Job, workspace: Workspace, ledger: Ledger, dispatcher: Dispatcher, queue: Any
) -> None:
    def broken() -> Iterator[Item]:
        yield from listing("a", "b", "c")
        raise ConnectionError

    with pytest.raises(ConnectionError):
        submit(job, workspace, Listing(broken(), Counter()), ledger, dispatcher)
    queue.waiting, queue.sent = {0}, []

    submit(job, workspace, listing("a", "b", "c"), ledger, dispatcher)

    assert queue.sent == [1]


def test_a_part_that_was_deleted_is_read_again(
    planned: Job, workspace: Workspace, ledger: Ledger, dispatcher: Dispatcher, queue: Any, write_part: Any
) -> None:
    for number in range(3):
        write_part(number)
    submit_job(planned, workspace, listing(), ledger, dispatcher)
    ledger.finish(planned.id, "failed", 60, "a part holds too few lines")
    workspace.store.delete(workspace.part(1))

    submit_job(planned, workspace, listing(), ledger, dispatcher)

    assert queue.sent == [1]
    progress = ledger.load(planned.id)
    assert progress
    assert (progress.status, progress.chunks_done) == ("in_progress", 2)
    assert ledger.begin(planned.id, 1, "cpu0@host").attempt == 1


def broken_source() -> Iterator[Item]:
    yield Item("a", "/a")
    raise SourceError("list.jsonl line 2: no uri")


@pytest.mark.parametrize(
    ("make", "said"), [(broken_source, "line 2: no uri"), (lambda: iter(()), "holds no images")]
)
def test_a_source_that_fails_marks_the_job_failed(
    make: Any, said: str, job: Job, workspace: Workspace, ledger: Ledger, dispatcher: Dispatcher
) -> None:
    with pytest.raises(SourceError, match=said):
        submit(job, workspace, Listing(make(), Counter()), ledger, dispatcher)

    progress = ledger.load(job.id)
    assert progress
    assert progress.status == "failed"
    assert said in progress.error
    halt = workspace.load_halt()
    assert halt
    assert (halt.status, said in halt.message) == ("failed", True)


def test_a_failed_job_runs_again_once_its_source_is_fixed(
    job: Job, workspace: Workspace, ledger: Ledger, dispatcher: Dispatcher, queue: Any
) -> None:
    with pytest.raises(SourceError):
        submit(job, workspace, listing(), ledger, dispatcher)

    submit(job, workspace, listing("a"), ledger, dispatcher)

    progress = ledger.load(job.id)
    assert progress
    assert (progress.status, progress.error, workspace.load_halt()) == ("in_progress", "", None)
    assert queue.sent == [0]


# two submissions at once


def test_a_submission_that_ends_after_a_round_of_retries_keeps_the_round(
    job: Job, workspace: Workspace, ledger: Ledger, dispatcher: Dispatcher
) -> None:
    # given a submission that is slow with its last chunk
    workspace.save_job(job)
    ledger.open(job.id, workspace.root, job.kind, job.source.uri, job.created_at)
    slow = plan_and_send(job, workspace, listing("a", "b", "c"), ledger, dispatcher)
    next(slow)
    next(slow)

    # when another plans the job, it is read, and its failed item is retried
    submit(job, workspace, listing("a", "b", "c"), ledger, dispatcher)
    for chunk, ids in enumerate(("ab", "c")):
        failure = Failure(ErrorCode.NOT_FOUND, "not there")
        lines = [ErrorLine(identity, f"/crops/{identity}", failure, 1) for identity in ids]
        workspace.store.create(workspace.part(chunk), b"".join(map(encode_line, lines)))
    merge(workspace.require_job(), workspace)
    retried = add_retry(workspace.require_job(), workspace, None)
    submit_job(retried, workspace, listing(), ledger, dispatcher)

    # then the slow one changes nothing
    planned = finished(slow)
    assert planned.retries == retried.retries
    assert workspace.require_job() == retried
    progress = ledger.load(job.id)
    assert progress
    assert progress.chunks_total == retried.chunks


def test_a_batch_size_that_is_set_while_the_job_is_planned_keeps_the_plan(
    job: Job, workspace: Workspace, ledger: Ledger, dispatcher: Dispatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle_job(job, workspace)
    smaller = job.model_copy(update={"parameters": RecognitionParameters(recognition_batch_size=2)})
    tuned_as, submitted = Job.tuned_as, []

    def tune_while_planning(mine: Job, other: Job) -> Job:
        if not submitted:
            submitted.append(submit_job(job, workspace, listing("a", "b", "c"), ledger, dispatcher))
        return tuned_as(mine, other)

    monkeypatch.setattr(Job, "tuned_as", tune_while_planning)
    settle_job(smaller, workspace)

    kept = workspace.require_job()
    assert (kept.plan, kept.parameters) == (submitted[0].plan, smaller.parameters)


def test_a_submission_whose_source_is_gone_does_not_fail_a_job_that_another_has_planned(
    job: Job, workspace: Workspace, ledger: Ledger, dispatcher: Dispatcher
) -> None:
    settle_job(job, workspace)

    def beside_another() -> Iterator[Item]:
        submit(job, workspace, listing("a", "b", "c"), ledger, dispatcher)
        yield Item("a", "/crops/a")
        raise SourceError("the folder is gone")

    with pytest.raises(SourceError):
        submit(job, workspace, Listing(beside_another(), Counter()), ledger, dispatcher)

    progress = ledger.load(job.id)
    assert progress
    assert (progress.status, workspace.load_halt()) == ("in_progress", None)


@pytest.mark.parametrize("planned_before", [False, True])
def test_a_submission_stops_when_the_job_is_halted(
    planned_before: bool,
    job: Job,
    workspace: Workspace,
    ledger: Ledger,
    dispatcher: Dispatcher,
    queue: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("producer.planning.submit.HALT_SECONDS", 0.0)
    settle_job(job, workspace)
    if planned_before:
        job = submit(job, workspace, listing(*"abcdef"), ledger, dispatcher)
        queue.sent.clear()
    steps = plan_and_send(job, workspace, listing(*"abcdef"), ledger, dispatcher)
    next(steps)

    cancel_job(job, workspace, ledger)

    with pytest.raises(JobHaltedError, match="cancelled"):
        finished(steps)
    assert len(queue.sent) < 3


def test_a_submission_stops_when_the_job_is_removed(
    job: Job, workspace: Workspace, ledger: Ledger, dispatcher: Dispatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("producer.planning.submit.HALT_SECONDS", 0.0)
    settle_job(job, workspace)
    steps = plan_and_send(job, workspace, listing(*"abcdef"), ledger, dispatcher)
    next(steps)
    cancel_job(job, workspace, ledger)
    ledger.finish(job.id, State.CANCELLED, 60)
    remove_job(job, workspace, ledger)

    with pytest.raises(JobHaltedError, match="removed"):
        finished(steps)
