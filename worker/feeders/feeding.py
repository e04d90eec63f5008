"""Feed the items of a run: groups go to the feeders ahead of the models, and come back in order."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from contract.errors import InterruptedChunkError
from worker.feeders.groups import Group
from worker.feeders.pool import FeederPool
from worker.feeders.protocol import DEPTH
from worker.kernels.pieces import PieceShape

GROUP, SMALL_GROUP = 128, 32
"""Most items of a group, as pieces and as pixels, which take more memory; a message each way costs some
100 us. With less than the smaller number that is a third of preparing a crop."""

GROUPS = 4
"""Groups that each feeder gets of a chunk, unless they become small: the first ones are read while the others
are prepared, and no feeder has much more to do than another."""

LOOK_SECONDS = 0.5
"""Seconds between looks whether the feeders make progress, while a group is waited for."""


@dataclass(frozen=True)
class Feeding:
    """How a run's items are fed.

    Args:
        pool: the feeders
        roots: canonical roots of the items' files, which feeders fetch themselves; None if this process does
    """

    pool: FeederPool
    roots: tuple[str, ...] | None = None

    def group_size(self, items: int, shape: PieceShape | None) -> int:
        """Return the items of a group, for a run of so many; `shape` as in `Feed`."""
        small = min(SMALL_GROUP, items // self.pool.number)
        most = GROUP if shape else SMALL_GROUP
        return max(1, small, min(most, items // (GROUPS * self.pool.number)))

    def fed(
        self,
        groups: Iterable[Group],
        window: int,
        is_stopping: Callable[[], bool],
        on_alive: Callable[[], None],
    ) -> Iterator[Any]:
        """Yield the groups' results, in order; some groups are with the feeders or waiting for the consumer.

        Args:
            window: those groups at most, if it is enough to keep all feeders busy
            is_stopping: whether the worker hands its chunk back
            on_alive: called when feeders make progress

        Raises:
            InterruptedChunkError: the worker is stopping
            StorageError: one that is no single item's, as `ItemFiles`
            UnfitWorkerError: feeders do not start
        """
        left = iter(groups)
        waiting: deque[Group] = deque()
        try:
            while True:
                most = max(window, DEPTH * self.pool.number) - len(waiting)
                for group in islice(left, most):
                    waiting.append(group)
                    self.pool.submit(group)
                if not waiting:
                    return
                yield self._result(waiting[0], is_stopping, on_alive)
                waiting.popleft()
        finally:
            for group in waiting:
                group.future.cancel()

    def _result(self, group: Group, is_stopping: Callable[[], bool], on_alive: Callable[[], None]) -> Any:
        steps = self.pool.steps
        while True:
            try:
                return group.future.result(LOOK_SECONDS)
            except TimeoutError:
                if group.future.done():
                    raise
            if is_stopping():
                raise InterruptedChunkError("the worker is stopping; the chunk goes back to the queue")
            if self.pool.steps != steps:
                steps = self.pool.steps
                on_alive()
