"""When a job ends, by a simulated fleet whose workers come and go."""

from collections import deque
from dataclasses import dataclass, field, replace

import pytest

from contract.job_status import ChunkCounts, JobStatus, Mark, RequestCounts, Running
from contract.states import State
from producer.results.projection import with_projection

ITEMS, RATE = 1_000_000, 50.0
"""Items of the job, and items per second of one worker; a chunk has 1,000 items."""
MARKS = 64


@dataclass
class Fleet:
    """Workers that read one job, each one chunk after another. Seconds."""

    now: float = 0.0
    done: int = 0
    begun: dict[str, float] = field(default_factory=dict)
    marks: deque[Mark] = field(default_factory=lambda: deque(maxlen=MARKS))

    def join(self, *names: str) -> None:
        # None begins when another does.
        self.begun |= {name: self.now + 20.0 * n / len(names) for n, name in enumerate(names)}

    def leave(self, *names: str) -> None:
        for name in names:
            del self.begun[name]

    def run(self, seconds: float) -> None:
        until = self.now + seconds
        while self.begun and (first := min(self.begun, key=lambda name: self.begun[name])):
            end = self.begun[first] + 1_000 / RATE
            if end > until:
                break
            self.begun[first] = end
            self.marks.append(Mark(end, 1_000, first))
            self.done += 1_000
        self.now = until

    def status(self, deadline: float | None = None) -> JobStatus:
        running = tuple(
            Running(number, max(0, int((self.now - at) * RATE)), self.now, name)
            for number, (name, at) in enumerate(self.begun.items())
        )
        status = JobStatus(
            id="night",
            status=State.IN_PROGRESS,
            kind="recognition",
            source="/crops",
            workspace="/out",
            request_counts=RequestCounts(ITEMS, self.done, 0),
            chunks=ChunkCounts(1_000, self.done // 1_000),
            planning=False,
            created_at=0.0,
            updated_at=self.now,
            items_per_second=None,
            eta_seconds=None,
            running=running,
            rate=tuple(self.marks),
            deadline=deadline,
        )
        return with_projection(status, set(self.begun), self.now)

    def truth(self) -> float:
        """When the job ends if nobody comes or goes any more."""
        read = self.done + sum(max(0.0, self.now - at) * RATE for at in self.begun.values())
        return self.now + (ITEMS - read) / (RATE * len(self.begun))

    def assert_honest(self, relative: float = 0.05) -> None:
        end = self.status().projected_end
        assert end is not None
        assert end - self.now == pytest.approx(self.truth() - self.now, rel=relative)


def names(first: int, last: int) -> list[str]:
    return [f"gpu{number}@host" for number in range(first, last)]


def test_projection_follows_workers_that_come_and_go() -> None:
    fleet = Fleet()
    fleet.join(*names(0, 16))
    fleet.run(120.0)
    fleet.assert_honest()

    # three quarters are taken away, and count no more at once
    fleet.leave(*names(4, 16))
    fleet.assert_honest(0.1)
    fleet.run(60.0)
    fleet.assert_honest(0.1)

    # twelve come, and are believed in once they are at work
    fleet.join(*names(20, 32))
    fleet.run(25.0)
    fleet.assert_honest(0.15)
    fleet.run(60.0)
    fleet.assert_honest()

    # all go but one
    fleet.leave(*names(1, 4), *names(20, 32))
    fleet.run(30.0)
    fleet.assert_honest(0.15)


def test_a_job_is_at_risk_as_soon_as_too_many_workers_have_gone_and_no_longer_once_they_are_back() -> None:
    fleet = Fleet()
    fleet.join(*names(0, 16))
    fleet.run(100.0)
    deadline = fleet.truth() + 300

    status = fleet.status(deadline)
    assert (status.at_risk, status.margin_seconds) == (False, pytest.approx(300, abs=100))

    fleet.leave(*names(8, 16))
    assert fleet.status(deadline).at_risk
    fleet.join(*names(8, 24))
    fleet.run(60.0)
    assert not fleet.status(deadline).at_risk


def test_a_job_on_which_nothing_works_has_no_end_and_is_at_risk() -> None:
    fleet = Fleet()
    fleet.join("gpu0@host")
    fleet.run(100.0)
    fleet.leave("gpu0@host")

    status = fleet.status(deadline=10**9)

    assert (status.projected_end, status.margin_seconds, status.at_risk) == (None, None, True)


def test_a_worker_that_stands_still_becomes_slower_and_slower() -> None:
    fleet = Fleet()
    fleet.join("gpu0@host")
    fleet.run(200.0)
    before = fleet.status().projected_end
    fleet.begun["gpu0@host"] = fleet.now
    fleet.now += 200.0
    fleet.begun["gpu0@host"] = fleet.now

    after = fleet.status().projected_end

    assert before is not None
    assert after is not None
    assert after - fleet.now > 1.8 * (before - 200.0)


def test_a_job_that_is_being_listed_has_no_end_yet_unless_it_is_late_already() -> None:
    fleet = Fleet()
    fleet.join("gpu0@host")
    fleet.run(100.0)
    listing = replace(fleet.status(), planning=True, deadline=10**9)

    early = with_projection(listing, {"gpu0@host"}, fleet.now)
    late = with_projection(replace(listing, deadline=fleet.now + 60), {"gpu0@host"}, fleet.now)

    assert (early.projected_end, early.at_risk) == (None, False)
    assert late.at_risk
