"""Whose chunks are sent next: weighted deficit round robin over tenants, and an order within each. No I/O.

M. Shreedhar and G. Varghese, Efficient Fair Queuing Using Deficit Round-Robin, SIGCOMM 1995. A chunk costs
the seconds that it is expected to take, so that tenants share the devices' time, whatever their chunks hold.
"""

from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping
from statistics import fmean

from contract.broker.line import Standing
from contract.job_status import Line
from contract.tenants import Tenant, tenant_of

UNKNOWN_SECONDS = 1.0
"""What a chunk costs while none was read: with equal costs the unit does not matter."""


class Shares:
    """The state of the round robin of one line: it goes on where the last choice ended."""

    def __init__(self) -> None:
        self._round: deque[str] = deque()
        self._deficits: dict[str, float] = {}
        self._served: dict[str, int] = {}
        self._turns = 0

    def choose(
        self,
        line: Iterable[Standing],
        tenants: Mapping[str, Tenant],
        room: int,
        held: Mapping[str, int],
    ) -> dict[str, int]:
        """Return how many chunks of each job are sent now, jobs in the order of their first chunk.

        Within a tenant, the earliest deadline goes first, then the highest priority; equals take turns, the
        oldest first.

        Args:
            line: the jobs with unsent chunks
            tenants: by name; one that is missing has weight 1
            room: how many chunks may be sent
            held: each tenant's chunks that are queued or held by workers
        """
        waiting = {one.job: one for one in line if one.unsent}
        left = {job: one.unsent for job, one in waiting.items()}
        costs = chunk_seconds(waiting.values())
        quanta = _quanta({one.tenant for one in waiting.values()}, tenants, max(costs.values(), default=0.0))
        free = {one.tenant: _free(one.tenant, tenants, held) for one in waiting.values()}
        chosen: Counter[str] = Counter()
        self._join(quanta)
        self._served = {job: turn for job, turn in self._served.items() if job in waiting}
        while self._round and room > 0:
            name = self._round[0]
            job = self._first(one for one in waiting.values() if one.tenant == name and left[one.job])
            if job is None or free[name] <= 0:
                self._leave()
            elif self._deficits[name] < costs[job]:
                # A tenant that has used its quantum goes to the end, and gets the next one there.
                self._deficits[name] += quanta[name]
                self._round.rotate(-1)
            else:
                self._deficits[name] -= costs[job]
                self._turns += 1
                self._served[job] = self._turns
                chosen[job] += 1
                left[job], free[name], room = left[job] - 1, free[name] - 1, room - 1
        return dict(chosen)

    def _join(self, quanta: Mapping[str, float]) -> None:
        """Let tenants in, at the front, and out; one that has nothing to send does not save its share."""
        for name in [name for name in self._round if name not in quanta]:
            self._round.remove(name)
            del self._deficits[name]
        for name in sorted(set(quanta).difference(self._round)):
            self._round.appendleft(name)
            self._deficits[name] = quanta[name]

    def _leave(self) -> None:
        del self._deficits[self._round.popleft()]

    def _first(self, jobs: Iterator[Standing]) -> str | None:
        first = min(
            jobs, key=lambda one: (one.rank, self._served.get(one.job, 0), one.created_at), default=None
        )
        return first.job if first else None


def _quanta(names: set[str], tenants: Mapping[str, Tenant], dearest: float) -> dict[str, float]:
    """Return what each tenant gets per round: the heaviest one dearest chunk, so that chunks alternate."""
    weights = {name: tenant_of(name, tenants).weight for name in names}
    heaviest = max(weights.values(), default=1)
    return {name: dearest * weight / heaviest for name, weight in weights.items()}


def _free(name: str, tenants: Mapping[str, Tenant], held: Mapping[str, int]) -> float:
    most = tenant_of(name, tenants).most_running
    return float("inf") if most is None else most - held.get(name, 0)


def place_of(job: str, line: Iterable[Standing], tenants: Mapping[str, Tenant]) -> Line | None:
    """Return a job's place in the line, or None if it has no chunk there: the queue has them all."""
    waiting = {one.job: one for one in line if one.unsent}
    ours = waiting.get(job)
    if ours is None:
        return None
    lane = [one for one in waiting.values() if one.urgent is ours.urgent]
    own = [one for one in lane if one.tenant == ours.tenant]
    first = [one for one in own if one.rank < ours.rank]
    first += [one for one in waiting.values() if one.urgent and not ours.urgent]
    equal = sum(one.rank == ours.rank for one in own)
    weights = {one.tenant: tenant_of(one.tenant, tenants).weight for one in lane}
    share = 0.0 if first else weights[ours.tenant] / sum(weights.values()) / equal
    return Line(ours.tenant, len(first) + 1, len(waiting), sum(one.items_left for one in first), share)


def chunk_seconds(line: Iterable[Standing]) -> dict[str, float]:
    """Return what a chunk of each job is expected to take: what its own took, or else those of its kind."""
    jobs = list(line)
    known: defaultdict[str, list[float]] = defaultdict(list)
    for one in jobs:
        if one.seconds:
            known[one.kind].append(one.seconds)
    every = [seconds for of_kind in known.values() for seconds in of_kind]
    usual = fmean(every) if every else UNKNOWN_SECONDS
    return {one.job: one.seconds or (fmean(known[one.kind]) if one.kind in known else usual) for one in jobs}
