"""The device process's half: hands groups to feeders, waits for them, and replaces those that die or hang.

Each feeder has a thread here, its keeper, which only waits, copies a group's bytes out of the shared memory,
and makes the group's result. A feeder that dies costs its group: the item that it was decoding is read alone
by a new feeder, and is blamed if that one dies too; the other items are read again without it.
"""

import contextlib
import itertools
import os
import select
import subprocess
import threading
import time
from collections import deque
from typing import Any

import msgspec
import numpy as np
import structlog

from contract.child_processes import (
    CRASHES_TO_BLAME,
    ONE_THREAD,
    START_SECONDS,
    Ready,
    python_module,
    receive_frame,
    receive_mapped,
    send_frame,
    start_child,
)
from contract.errors import UnfitWorkerError
from contract.settings import PREFIX, SECRETS
from contract.storage import OnRequest
from worker.feeders.arena import Arena, Bytes
from worker.feeders.groups import Group, InvalidReplyError, Part, crashed, failure_of, timed_out
from worker.feeders.protocol import Limits, Reply

DEPTH = 3
"""Groups that one feeder has at once: one is decoded, the next wait, so that it never waits for this process.
Files of the waiting ones are fetched."""

LOOK_SECONDS = 0.25
"""Seconds between looks at a feeder's progress."""

SEND_SECONDS = 60.0
"""Seconds in which a feeder must take a request, and complete an answer that it has begun."""

MAX_STARTS = 3
"""Feeders in a row that do not start, after which the process is unfit: its installation is broken."""

CHANNELS = 3
"""Bytes per pixel: RGB."""


class FeederPool:
    """Some feeders, each started when it is first needed; thread-safe.

    Args:
        number: feeders
        limits: what one feeder may take
        seconds: time limit for decoding one item
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
        self.number, self.limits, self.seconds = number, limits, seconds
        self.on_request = on_request
        self.finishing = threading.BoundedSemaphore(finishers)
        self.runs = itertools.count()
        self.steps = 0
        self._waiting: deque[Part] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._keepers: list[_Keeper] = []

    def submit(self, group: Group) -> None:
        """Hand a group to the feeders; its future has the result."""
        places = group.unknown()
        if not places:
            group.finish()
            return
        self.put([Part(group, places)])
        if not self._keepers:
            self.start()

    def start(self) -> None:
        """Start the keepers, and with them the feeders."""
        with self._changed:
            if self._keepers or self._closed:
                return
            self._keepers = [_Keeper(self) for _ in range(self.number)]
        for keeper in self._keepers:
            keeper.thread.start()

    def put(self, parts: list[Part], *, first: bool = False) -> None:
        """Let parts wait for a feeder; `first` before all others."""
        with self._changed:
            if first:
                self._waiting.extendleft(reversed(parts))
            else:
                self._waiting.extend(parts)
            self._changed.notify(len(parts))

    def take(self, *, wait: bool) -> Part | None:
        """Return the next part that somebody waits for; None if there is none, or the pool is closed."""
        with self._changed:
            while not self._closed:
                while self._waiting:
                    part = self._waiting.popleft()
                    if not part.group.over:
                        return part
                if not wait:
                    return None
                self._changed.wait()
            return None

    def moved(self) -> None:
        """Note that a feeder has made progress."""
        self.steps += 1

    @property
    def pids(self) -> list[int]:
        """The process ids of the feeders that run."""
        return [keeper.pid for keeper in self._keepers if keeper.pid is not None]

    def close(self) -> None:
        """End the feeders; groups that wait fail."""
        with self._changed:
            self._closed = True
            waiting, self._waiting = list(self._waiting), deque()
            self._changed.notify_all()
        for part in waiting:
            part.group.fail(UnfitWorkerError("the feeders are closed"))
        for keeper in self._keepers:
            keeper.end()
        for keeper in self._keepers:
            keeper.thread.join()


class _Keeper:
    """A thread that keeps one feeder busy, and replaces it."""

    def __init__(self, pool: FeederPool) -> None:
        self._pool = pool
        self._feeder: _Feeder | None = None
        self._flying: deque[tuple[Part, int]] = deque()
        self._failed_starts = 0
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
                self._fill()
                if self._flying:
                    self._settle()
        self._drop()
        for part, _ in self._flying:
            part.group.fail(UnfitWorkerError("the feeders are closed"))

    def _fill(self) -> None:
        """Send requests until the feeder has enough; wait for one if it has none."""
        while len(self._flying) < DEPTH:
            if self._pool._closed:
                raise _ClosedError
            part = self._pool.take(wait=not self._flying)
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
                self._feeder = _Feeder(self._pool.limits)
                self._feeder.wait_until_ready()
            except (OSError, msgspec.MsgspecError) as error:
                structlog.get_logger().warning("feeder_not_started", error=str(error))
                self._drop()
            if self._pool._closed:
                raise _ClosedError
        return self._feeder is not None

    def _settle(self) -> None:
        """Wait for the answer to the first request, or for the feeder's end."""
        assert self._feeder
        part, slot = self._flying[0]
        try:
            reply, data = self._feeder.answer(slot, self._pool)
            outcomes = [] if reply.failure else part.outcomes(reply, data)
        except _HungError as hung:
            self._replace()
            self._blame(part, min(hung.place, len(part.places) - 1), timed_out(self._pool.seconds))
        except (OSError, msgspec.MsgspecError, RecursionError, InvalidReplyError):
            _, place = self._feeder.progress()
            self._replace()
            self._suspect(part, place)
        else:
            self._flying.popleft()
            self._take(part, reply, outcomes)
        self._pool.moved()

    def _take(self, part: Part, reply: Reply, outcomes: list[Any]) -> None:
        group = part.group
        if self._pool.on_request:
            for request in reply.requests:
                self._pool.on_request(*request)
        if reply.failure:
            group.fail(failure_of(*reply.failure))
            return
        group.count(reply.seconds)
        if len(outcomes) < len(part.places):
            self._pool.put([part.rest(len(outcomes))], first=True)
        if group.take(part.places[: len(outcomes)], outcomes):
            with self._pool.finishing if group.needs_pixels else contextlib.nullcontext():
                group.finish()

    def _replace(self) -> None:
        """End the feeder; what it had not begun waits for another one."""
        self._drop()
        structlog.get_logger().warning("feeder_died")
        self._flying.popleft()
        self._pool.put([part for part, _ in self._flying], first=True)
        self._flying.clear()

    def _blame(self, part: Part, place: int, error: Any) -> None:
        """Give an item its error, and read the others of its part again."""
        if part.group.take([part.places[place]], [error]):
            part.group.finish()
        self._pool.put(part.without(place))

    def _suspect(self, part: Part, place: int | None) -> None:
        """Decide what happens to a part whose feeder died while it decoded the item at `place`, if any."""
        alone = len(part.places) == 1
        if alone and part.crashes + 1 >= CRASHES_TO_BLAME:
            self._blame(part, 0, crashed(f"crashed {part.crashes + 1} processes in a row"))
        elif alone or place is None or place >= len(part.places):
            # Not known to be any item's doing, unless it happens again.
            again = Part(part.group, part.places, part.crashes + 1)
            split = not alone and again.crashes >= CRASHES_TO_BLAME
            self._pool.put([Part(part.group, [one]) for one in part.places] if split else [again])
        else:
            self._pool.put([Part(part.group, [part.places[place]], 1), *part.without(place)])

    def _drop(self) -> None:
        feeder, self._feeder = self._feeder, None
        if feeder:
            feeder.close()


class _Feeder:
    """One feeder process with its shared memory."""

    def __init__(self, limits: Limits) -> None:
        self._max_apart = limits.max_pixels * CHANNELS
        self._arena = Arena.of(limits.slots)
        descriptor = self._arena.descriptor
        command = [
            *python_module("worker.feeders.program"), msgspec.json.encode(limits).decode(), str(descriptor)
        ]  # fmt: skip
        self._process: subprocess.Popen[bytes]
        self._process, self._connection = start_child(command, _environment(), (descriptor,))

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    def wait_until_ready(self) -> None:
        """Wait until the program is loaded; raises OSError or msgspec.MsgspecError if it does not start."""
        receive_frame(self._connection, Ready, 0, time.monotonic() + START_SECONDS)

    def send(self, header: bytes, data: bytes) -> None:
        """Send a request; raises OSError if the feeder does not take it."""
        send_frame(self._connection, header, data, time.monotonic() + SEND_SECONDS)

    def progress(self) -> tuple[int, int | None]:
        """Return as `Arena.progress`."""
        return self._arena.progress()

    def answer(self, slot: int, pool: FeederPool) -> tuple[Reply, Bytes]:
        """Return the next answer and a copy of its bytes.

        Raises:
            _HungError: decoding one item takes longer than the pool's limit
            OSError, msgspec.MsgspecError, RecursionError, InvalidReplyError: the feeder died, or its answer
                is not valid
        """
        self._wait(pool)
        deadline = time.monotonic() + SEND_SECONDS
        reply, _ = receive_frame(self._connection, Reply, 0, deadline)
        if not reply.apart:
            # A copy, so that the slot is free, however long the pieces wait for their batch.
            slots = self._arena.slot(slot)
            if reply.size > len(slots):
                raise InvalidReplyError
            return reply, np.array(slots[: reply.size])
        return reply, self._apart(reply.size)

    def _apart(self, size: int) -> Bytes:
        if not 0 < size <= self._max_apart:
            raise InvalidReplyError
        shared = receive_mapped(self._connection, size, time.monotonic() + SEND_SECONDS)
        return np.frombuffer(shared, np.uint8)

    def _wait(self, pool: FeederPool) -> None:
        """Wait until an answer begins to arrive, or the process has ended."""
        poll = select.poll()
        poll.register(self._connection, select.POLLIN)
        seen, since = self.progress(), time.monotonic()
        while not poll.poll(LOOK_SECONDS * 1_000):
            progress = self.progress()
            if progress != seen:
                seen, since = progress, time.monotonic()
                pool.moved()
            elif progress[1] is not None and time.monotonic() - since > pool.seconds:
                raise _HungError(progress[1])

    def kill(self) -> None:
        """Kill the process."""
        self._process.kill()

    def close(self) -> None:
        """Kill the process and free its memory."""
        self._process.kill()
        self._process.wait()
        self._connection.close()
        self._arena.close()


class _ClosedError(Exception):
    """The pool is closed."""


class _HungError(Exception):
    """A feeder has decoded one item for too long."""

    def __init__(self, place: int) -> None:
        super().__init__()
        self.place = place


def _environment() -> dict[str, str]:
    """Return a feeder's environment: without secrets, which it does not need and images may take over."""
    secrets = {f"{PREFIX}{name}".upper() for name in SECRETS}
    return {**{name: value for name, value in os.environ.items() if name not in secrets}, **ONE_THREAD}
