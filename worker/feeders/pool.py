"""The device process's half: hands groups to feeders, each of which has a thread that keeps it."""

import itertools
import threading

from contract.errors import UnfitWorkerError
from contract.storage import OnRequest
from worker.feeders.groups import Group, Part
from worker.feeders.keeper import Keeper, Terms
from worker.feeders.protocol import Limits
from worker.feeders.waiting import Waiting


class FeederPool:
    """Some feeders, each started when it is first needed; thread-safe.

    Args:
        number: feeders
        limits: what one feeder may take
        seconds: limit for decoding one item, as `TimeLimit`
        finishers: groups with unprepared pixels that are finished at once
        on_request: called for each request to storage that a feeder made
    """

    def __init__(
        self,
        number: int,
        limits: Limits,
        seconds: float,
        *,
        finishers: int = 1,
        on_request: OnRequest | None = None,
    ) -> None:
        self.number = number
        self.runs = itertools.count()
        self.steps = 0
        finishing = threading.BoundedSemaphore(finishers)
        self._terms = Terms(limits, seconds, finishing, self._moved, on_request)
        self._waiting = Waiting()
        self._starting = threading.Lock()
        self._keepers: list[Keeper] = []

    def submit(self, group: Group) -> None:
        """Hand a group to the feeders; its future has the result."""
        places = group.missing()
        if not places:
            group.finish()
            return
        self._waiting.put([Part(group, places)])
        if not self._keepers:
            self.start()

    def start(self) -> None:
        """Start the keepers, and with them the feeders."""
        with self._starting:
            if self._keepers or self._waiting.closed:
                return
            self._keepers = [Keeper(self._waiting, self._terms) for _ in range(self.number)]
            for keeper in self._keepers:
                keeper.thread.start()

    @property
    def pids(self) -> list[int]:
        """The process ids of the feeders that run."""
        return [keeper.pid for keeper in self._keepers if keeper.pid is not None]

    def close(self) -> None:
        """End the feeders; groups that wait fail."""
        with self._starting:
            left = self._waiting.close()
        for part in left:
            part.group.fail(UnfitWorkerError("the feeders are closed"))
        for keeper in self._keepers:
            keeper.end()
        for keeper in self._keepers:
            keeper.thread.join()

    def _moved(self) -> None:
        self.steps += 1
