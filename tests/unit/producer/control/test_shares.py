"""Fair shares: tenants by weight, jobs within a tenant by deadline, priority and turn. A simulated fleet."""

import heapq
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import pytest

from contract.broker.line import Standing
from contract.tenants import Tenant, parse_tenants
from producer.control.feed import FEED_SECONDS, Level
from producer.control.shares import Shares, place_of

DEVICES, IN_HAND = 64, 2
"""A fleet whose every device works on two chunks at once, as worker processes do."""


def waiting(job: str, tenant: str = "default", unsent: int = 1_000, **given: object) -> Standing:
    one = Standing(job, f"/{job}", "recognition", 0.0, 1, unsent, unsent, None, tenant)
    return replace(one, **given)  # type: ignore[arg-type]


def order(*line: Standing, room: int = 10_000, held: dict[str, int] | None = None, tenants: str = "") -> str:
    """Return the order in which chunks are sent, one at a time."""
    shares, sent, rest = Shares(), [], {one.job: one for one in line}
    known = parse_tenants(tenants.split(",") if tenants else ())
    for _ in range(room):
        chosen = shares.choose(rest.values(), known, 1, held or {})
        if not chosen:
            break
        (job,) = chosen
        rest[job] = replace(rest[job], unsent=rest[job].unsent - 1)
        sent.append(job)
    return "".join(sent)


def test_the_earliest_deadline_goes_first_then_the_highest_priority_then_equals_take_turns() -> None:
    sent = order(
        waiting("e", unsent=2, created_at=9.0),
        waiting("d", unsent=3),
        waiting("c", unsent=2, priority=1),
        waiting("b", unsent=2, deadline=200.0),
        waiting("a", unsent=2, deadline=100.0, priority=-5),
    )

    assert sent == "aabbccdeded"


def test_tenants_alternate_by_weight_even_if_one_has_a_deadline() -> None:
    sent = order(waiting("a", "one"), waiting("b", "two", deadline=1.0), room=8, tenants="one:1,two:3")

    assert sent.count("b") == 6


def test_a_tenant_sends_no_more_chunks_than_may_run_and_the_others_go_on() -> None:
    line = waiting("a", "one"), waiting("b", "two", unsent=5)

    assert Counter(order(*line, held={"one": 2}, tenants="one:9:2")) == {"b": 5}
    assert Shares().choose(line, {"one": Tenant("one", 1, 3)}, 100, {"one": 1}) == {"a": 2, "b": 5}


def test_a_tenant_that_had_nothing_to_send_has_saved_nothing() -> None:
    shares, busy, other = Shares(), waiting("a", "one"), waiting("b", "two")
    for _ in range(50):
        shares.choose([busy], {}, 10, {})

    assert shares.choose([busy, other], {}, 100, {})["b"] == pytest.approx(50, abs=1)


def test_the_same_choice_is_made_in_one_call_or_in_many() -> None:
    line = [waiting("a", "one"), waiting("b", "two"), waiting("c", "two", priority=1, unsent=7)]

    assert Counter(order(*line, room=30)) == Shares().choose(line, {}, 30, {})


def test_place_in_the_line() -> None:
    line = [
        waiting("old", unsent=30),
        waiting("new", unsent=10),
        waiting("due", unsent=20, deadline=1.0),
        waiting("other", "two", unsent=5),
        waiting("now", "three", unsent=7, urgent=True),
    ]

    new = place_of("new", line, {})
    assert new
    assert (new.place, new.jobs, new.items_ahead, new.share) == (3, 5, 27, 0.0)
    other = place_of("other", line[:4], parse_tenants(["two:3"]))
    assert other
    assert (other.place, other.items_ahead, other.share) == (1, 0, 0.75)
    assert place_of("gone", line, {}) is None


# a fleet


@dataclass
class Fleet:
    """64 devices that take chunks from a queue that is fed four times a second. Seconds."""

    tenants: dict[str, Tenant]
    jobs: dict[str, Standing]
    costs: dict[str, float]
    shares: Shares = field(default_factory=Shares)
    level: Level = field(default_factory=Level)
    queue: deque[str] = field(default_factory=deque)
    used: Counter[str] = field(default_factory=Counter)
    begun: dict[str, float] = field(default_factory=dict)
    longest: int = 0
    now: float = 0.0
    running: list[tuple[float, int, str]] = field(default_factory=list)

    def run(self, seconds: float) -> None:
        until = self.now + seconds
        for now in self._ticks(until):
            held = Counter(self.jobs[job].tenant for job in [*self.queue, *(run[2] for run in self.running)])
            room = self.level.room(len(self.queue), DEVICES)
            for job, count in self.shares.choose(self.jobs.values(), self.tenants, room, held).items():
                self.jobs[job] = replace(self.jobs[job], unsent=self.jobs[job].unsent - count)
                self.queue.extend([job] * count)
            self.level.left = len(self.queue)
            self.longest = max(self.longest, len(self.queue))
            self._work(now)

    def _ticks(self, until: float) -> Iterator[float]:
        while self.now < until:
            yield self.now
            self.now += FEED_SECONDS

    def _work(self, now: float) -> None:
        """Let devices take chunks until the next feeding; a chunk takes twice as long as two take turns."""
        while self.queue and (
            len(self.running) < IN_HAND * DEVICES or self.running[0][0] < now + FEED_SECONDS
        ):
            at = now
            if len(self.running) == IN_HAND * DEVICES:
                at, _, done = heapq.heappop(self.running)
                seconds = self.costs[done]
                self.used[self.jobs[done].tenant] += seconds  # type: ignore[assignment]
                self.jobs[done] = replace(self.jobs[done], seconds=seconds)
            job = self.queue.popleft()
            self.begun.setdefault(job, max(at, now))
            end = max(at, now) + IN_HAND * self.costs[job]
            heapq.heappush(self.running, (end, id(object()), job))


@pytest.mark.parametrize("seconds", [(20.0, 20.0, 20.0), (2.0, 30.0, 0.3)])
def test_three_tenants_on_64_devices_have_their_shares(seconds: tuple[float, ...]) -> None:
    """Given chunks of equal length, then of lengths that differ a hundredfold."""
    names = "abc"
    fleet = Fleet(
        dict(parse_tenants(["a:5", "b:3", "c:2"])),
        {name: waiting(name, name, unsent=10**6, kind=name) for name in names},
        dict(zip(names, seconds, strict=True)),
    )

    fleet.run(600.0)
    fleet.used.clear()
    fleet.run(3_600.0)

    whole = sum(fleet.used.values())
    for name, share in zip(names, (0.5, 0.3, 0.2), strict=True):
        assert fleet.used[name] / whole == pytest.approx(share, rel=0.05)
    assert whole > 0.95 * 3_600 * DEVICES, "the devices wait for chunks"
    assert fleet.longest < 1_000


@pytest.mark.parametrize("tenant", ["default", "another"])
@pytest.mark.parametrize("cost", [0.5, 2.0, 20.0])
def test_a_hundred_items_behind_ten_million_start_within_a_chunk(tenant: str, cost: float) -> None:
    huge = waiting("huge", unsent=10**7 // 1_024)
    fleet = Fleet({}, {"huge": huge}, {"huge": cost, "small": cost})
    fleet.run(60.0)
    assert fleet.jobs["huge"].unsent > 0

    begun = fleet.now
    fleet.jobs["small"] = waiting("small", tenant, unsent=1, created_at=begun)
    fleet.run(60.0)

    assert fleet.begun["small"] - begun <= IN_HAND * cost + 2 * FEED_SECONDS


def test_a_queue_is_refilled_before_workers_have_emptied_it() -> None:
    level = Level()
    assert level.room(waiting=0, workers=0) == 2
    assert level.room(waiting=0, workers=64) == 64
    # when all workers end a chunk at once, that is no pace
    level.left = 128
    assert level.room(waiting=0, workers=64) == 64
    # when they take so many at every feeding
    for _ in range(4):
        level.left = 128
        room = level.room(waiting=0, workers=64)
    assert room == 256
    level.left = 10**6
    assert level.room(waiting=0, workers=64) < 5_000
    assert level.room(waiting=10**6, workers=64) == 0
