"""A feeder's keeper: keeps it busy, makes results of its answers, and replaces it when it dies or hangs.

A keeper only waits, copies a group's bytes out of the shared memory, and makes the group's result. A feeder
that dies costs its group: the item that it was decoding is read alone by a new feeder, and is blamed if that
one dies too; the other items are read again without it.
"""

import contextlib
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import msgspec
import structlog

from contract.child_processes import CRASHES_TO_BLAME
from contract.errors import ItemError, UnfitWorkerError
from contract.storage import OnRequest
from worker.feeders.answers import Fed, InvalidReplyError
from worker.feeders.groups import Part, crashed, failure_of, timed_out
from worker.feeders.process import Feeder, HungError
from worker.feeders.protocol import DEPTH, Limits, Reply
from worker.feeders.waiting import Waiting

MAX_STARTS = 3
"""Feeders in a row that do not start, after which the process is unfit: its installation is broken."""


@dataclass(frozen=True)
class Terms:
    """What the keepers of a pool have in common.

    Args:
        limits: what one feeder may take
        seconds: limit for decoding one item, as `TimeLimit`
        finishing: limits how many groups with unprepared pixels are finished at once
        on_progress: called when a feeder makes progress
        on_request: called for each request to storage that a feeder made
    """

    limits: Limits
    seconds: float
    finishing: threading.BoundedSemaphore
    on_progress: Callable[[], None]
    on_request: OnRequest | None


class Keeper:
    """A thread that keeps one feeder busy, and replaces it."""

    def __init__(self, waiting: Waiting, terms: Terms) -> None:
        self._waiting, self._terms = waiting, terms
        self._feeder: Feeder | None = None
        self._flying: deque[tuple[Part, int]] = deque()
        self.thread = threading.Thread(target=self._run, name="feeder", daemon=True)

    @property
    def pid(self) -> int | None:
        """The process id of the feeder, if one runs."""
        feeder = self._feeder
        return feeder.pid if feeder else None

    def end(self) -> None:
        """Kill the feeder, so that the thread stops waiting for it."""
        if feeder := self._feeder:
            feeder.kill()

    def _run(self) -> None:
        with contextlib.suppress(_ClosedError):
            self._started()
            while True:
                try:
                    self._fill()
                    if self._flying:
                        self._settle()
                except _ClosedError:
                    raise
                # Any exception: without this thread its groups would be waited for without end.
                except Exception as error:
                    structlog.get_logger().exception("feeder_failed")
                    self._abandon(error)
        self._abandon(UnfitWorkerError("the feeders are closed"))

    def _abandon(self, error: Exception) -> None:
        """End the feeder, and let the groups that it has fail."""
        self._drop()
        for part, _ in self._flying:
            part.group.fail(error)
        self._flying.clear()

    def _fill(self) -> None:
        """Send requests until the feeder has enough; wait for one if it has none."""
        while len(self._flying) < DEPTH:
            if self._waiting.closed:
                raise _ClosedError
            part = self._waiting.take(wait=not self._flying)
            if part is None:
                return
            if not self._started():
                part.group.fail(UnfitWorkerError("feeders do not start: the worker's log says why"))
                continue
            assert self._feeder
            slot = next(slot for slot in range(DEPTH) if slot not in {used for _, used in self._flying})
            self._flying.append((part, slot))
            try:
                self._feeder.send(*part.request(slot))
            except OSError:
                # It died, maybe of the first request: settling finds out.
                return

    def _started(self) -> bool:
        """Return whether a feeder runs, after some tries to start one."""
        if self._feeder and not self._flying and not self._feeder.alive:
            # It died between two requests: neither one caused it.
            self._drop()
        for _ in range(MAX_STARTS):
            if self._feeder:
                return True
            try:
                self._feeder = Feeder(self._terms.limits)
                self._feeder.wait_until_ready()
            except (OSError, msgspec.MsgspecError) as error:
                structlog.get_logger().warning("feeder_not_started", error=str(error))
                self._drop()
            if self._waiting.closed:
                raise _ClosedError
        return self._feeder is not None

    def _settle(self) -> None:
        """Wait for the answer to the first request, or for the feeder's end."""
        assert self._feeder
        part, slot = self._flying[0]
        try:
            reply, data = self._feeder.answer(slot, self._terms.seconds, self._terms.on_progress)
            fed = None if reply.failure else part.fed(reply, data)
        except HungError as hung:
            self._replace()
            self._blame(part, min(hung.place, len(part.places) - 1), timed_out(str(hung)))
        except (OSError, msgspec.MsgspecError, RecursionError, InvalidReplyError):
            _, place = self._feeder.progress()
            self._replace()
            self._suspect(part, place)
        else:
            self._flying.popleft()
            self._take(part, reply, fed)
        self._terms.on_progress()

    def _take(self, part: Part, reply: Reply, fed: Fed | None) -> None:
        group = part.group
        if self._terms.on_request:
            for request in reply.requests:
                self._terms.on_request(*request)
        if reply.failure:
            group.fail(failure_of(*reply.failure))
        if fed is None:
            return
        group.count(reply.seconds)
        if fed.count < len(part.places):
            self._waiting.put([part.rest(fed.count)], first=True)
        if group.take(part.places[: fed.count], fed):
            with self._terms.finishing if group.needs_pixels else contextlib.nullcontext():
                group.finish()

    def _replace(self) -> None:
        """End the feeder; what it had not begun waits for another one."""
        self._drop()
        structlog.get_logger().warning("feeder_died")
        self._flying.popleft()
        self._waiting.put([part for part, _ in self._flying], first=True)
        self._flying.clear()

    def _blame(self, part: Part, place: int, error: ItemError) -> None:
        """Give an item its error, and read the others of its part again."""
        if part.group.take([part.places[place]], Fed.failed(error)):
            part.group.finish()
        self._waiting.put(part.without(place))

    def _suspect(self, part: Part, place: int | None) -> None:
        """Decide what happens to a part whose feeder died while it decoded the item at `place`, if any."""
        alone = len(part.places) == 1
        if alone and part.crashes + 1 >= CRASHES_TO_BLAME:
            self._blame(part, 0, crashed(f"crashed {part.crashes + 1} processes in a row"))
        elif alone or place is None or place >= len(part.places):
            # Not known to be any item's doing, unless it happens again.
            again = Part(part.group, part.places, part.crashes + 1)
            split = not alone and again.crashes >= CRASHES_TO_BLAME
            self._waiting.put([Part(part.group, [one]) for one in part.places] if split else [again])
        else:
            self._waiting.put([Part(part.group, [part.places[place]], 1), *part.without(place)])

    def _drop(self) -> None:
        feeder, self._feeder = self._feeder, None
        if feeder:
            feeder.close()


class _ClosedError(Exception):
    """The pool is closed."""
