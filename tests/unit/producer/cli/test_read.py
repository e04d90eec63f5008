"""`status` and `watch` while Redis is away: storage is the truth, and a job goes on."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import redis
from structlog.testing import capture_logs

from contract.broker.ledger import Ledger
from contract.job import Job
from contract.states import State
from contract.storage import Storage
from contract.workspace import Workspace
from producer.cli import read
from producer.planning.submit import settle_job

AWAY = redis.ConnectionError("Connection refused")


@pytest.fixture
def session(ledger: Ledger, storage: Storage, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Given clients of a Redis that does not answer."""

    def away(*_: object) -> None:
        raise AWAY

    monkeypatch.setattr(ledger, "load", away)
    return SimpleNamespace(ledger_if_set=ledger, storage=storage, index=None, explained=lambda status: status)


def test_status_shows_what_the_workspace_says(session: Any, job: Job, workspace: Workspace) -> None:
    settle_job(job, workspace)

    with capture_logs() as logs:
        found = read._look_anyway(session, workspace.root)

    assert (found.id, found.status) == (job.id, State.VALIDATING)
    assert [one["event"] for one in logs] == ["redis_away"]


def test_status_of_an_id_that_only_redis_could_find_says_that_redis_is_away(session: Any) -> None:
    with pytest.raises(redis.ConnectionError):
        read._look_anyway(session, "night-1")


def test_watch_waits_for_redis_and_says_so_once(monkeypatch: pytest.MonkeyPatch) -> None:
    # given a job whose Redis goes away and comes back while somebody waits for the job's end
    looks: Iterator[Any] = iter(
        [_status(State.IN_PROGRESS), AWAY, redis.TimeoutError("timeout"), _status(State.COMPLETED)]
    )
    asked = []

    def look(_: object, job: str) -> Any:
        asked.append(job)
        found = next(looks)
        if isinstance(found, Exception):
            raise found
        return found

    monkeypatch.setattr(read, "_look", look)
    monkeypatch.setattr(read, "WATCH_SECONDS", 0)

    with capture_logs() as logs:
        ended = read._wait(None, "night-1", lambda _: None)  # type: ignore[arg-type]

    # then it is followed to its end, by its workspace: a Redis that came back empty does not know its id
    assert ended.status is State.COMPLETED
    assert asked == ["night-1", "/out", "/out", "/out"]
    assert [one["event"] for one in logs] == ["redis_away"]


def test_watch_fails_at_once_if_redis_was_never_there(monkeypatch: pytest.MonkeyPatch) -> None:
    def look(*_: object) -> Any:
        raise AWAY

    monkeypatch.setattr(read, "_look", look)

    with pytest.raises(redis.ConnectionError):
        read._wait(None, "night-1", lambda _: None)  # type: ignore[arg-type]


def _status(state: State) -> SimpleNamespace:
    return SimpleNamespace(status=state, ended=state is State.COMPLETED, workspace="/out")
