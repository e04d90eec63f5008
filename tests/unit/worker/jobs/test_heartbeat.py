"""The heartbeat: renews the lease, reports progress, and outlives Redis' absences."""

import threading

import fakeredis
import pytest
import redis

from worker.jobs import heartbeat
from worker.jobs.heartbeat import UNACKED_INDEX, Heartbeat, renew_lease

SOON = 30
"""Seconds to wait for an event that comes at once, or never."""


class Calls:
    """Counts calls and lets a test wait for the n-th; the first `failures` of them raise."""

    def __init__(self, failures: int = 0) -> None:
        self.arguments: list[tuple[int, ...]] = []
        self._failures = failures
        self._changed = threading.Condition()

    def __call__(self, *arguments: int) -> None:
        with self._changed:
            self.arguments.append(arguments)
            self._changed.notify_all()
            if len(self.arguments) <= self._failures:
                raise redis.ConnectionError("Redis is away")

    def wait_for(self, count: int) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: len(self.arguments) >= count, SOON)

    def wait_for_last(self, *arguments: int) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: self.arguments[-1:] == [arguments], SOON)


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a heart that beats every millisecond."""
    monkeypatch.setattr(heartbeat, "PROGRESS_SECONDS", 0.001)


def test_the_lease_is_renewed_again_and_again() -> None:
    renew = Calls()

    with Heartbeat(renew, Calls(), lease_seconds=0.001):
        assert renew.wait_for(3)


def test_progress_is_reported_between_renewals() -> None:
    # given a lease that does not come due
    renew, report = Calls(), Calls()

    with Heartbeat(renew, report, lease_seconds=3600) as beat:
        beat.advance(128)
        assert report.wait_for_last(128)
        beat.advance(256)
        assert report.wait_for_last(256)

    # then each count was said once, and the lease left alone
    assert report.arguments == [(128,), (256,)]
    assert renew.arguments == []


def test_a_renewal_is_a_sign_of_life_even_without_progress() -> None:
    report = Calls()

    with Heartbeat(Calls(), report, lease_seconds=0.001):
        assert report.wait_for(2)

    assert set(report.arguments) == {(0,)}


def test_redis_being_away_does_not_end_it() -> None:
    # given a Redis that is away for the first renewals and reports
    renew, report = Calls(failures=2), Calls(failures=2)

    with Heartbeat(renew, report, lease_seconds=0.001) as beat:
        assert renew.wait_for(4)
        beat.advance(5)
        assert report.wait_for(4)
        assert report.wait_for_last(5)


def test_it_ends_with_its_block_even_when_that_raises() -> None:
    renew = Calls()

    def fail_while_it_beats() -> None:
        with Heartbeat(renew, Calls(), 0.001):
            assert renew.wait_for(1)
            raise RuntimeError("the chunk failed")

    with pytest.raises(RuntimeError, match="the chunk failed"):
        fail_while_it_beats()

    assert not [thread for thread in threading.enumerate() if thread.name == "heartbeat"]


def test_a_lease_is_moved_to_now_but_never_made(
    fake_redis: fakeredis.FakeRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given one unacknowledged message; another was acknowledged
    fake_redis.zadd(UNACKED_INDEX, {"held": 1000})
    monkeypatch.setattr(heartbeat.time, "time", lambda: 2000.0)

    renew_lease(fake_redis, "held")
    renew_lease(fake_redis, "acknowledged")

    assert fake_redis.zrange(UNACKED_INDEX, 0, -1, withscores=True) == [("held", 2000.0)]
