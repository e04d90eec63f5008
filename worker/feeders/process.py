"""One feeder process, as the device process sees it: its requests, its answers, and its progress."""

import os
import select
import subprocess
import time
from collections.abc import Callable

import msgspec
import numpy as np

from contract.child_processes import ONE_THREAD, python_module, start_child, wait_until_ready
from contract.frames import receive_frame, receive_mapped, send_frame
from contract.settings import PREFIX, SECRETS
from contract.time_limits import LOOK_SECONDS, TimeLimit
from worker.feeders.answers import InvalidReplyError
from worker.feeders.arena import Arena, Bytes
from worker.feeders.protocol import CHANNELS, Limits, Reply

SEND_SECONDS = 300.0
"""Seconds in which a feeder must take a request, and complete an answer that it has begun: a moment's work,
but on a busy machine its turn may come late."""


class HungError(Exception):
    """A feeder has decoded one item for too long; the message says for how long."""

    def __init__(self, place: int, excess: str) -> None:
        super().__init__(excess)
        self.place = place


class Feeder:
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
        wait_until_ready(self._process, self._connection)

    def send(self, header: bytes, data: bytes) -> None:
        """Send a request; raises OSError if the feeder does not take it."""
        send_frame(self._connection, header, data, time.monotonic() + SEND_SECONDS)

    def progress(self) -> tuple[int, int | None]:
        """Return as `Arena.progress`."""
        return self._arena.progress()

    def answer(self, slot: int, seconds: float, on_progress: Callable[[], None]) -> tuple[Reply, Bytes]:
        """Return the next answer and a copy of its bytes.

        Args:
            slot: where its bytes are
            seconds: limit for decoding one item, as `TimeLimit`
            on_progress: called when the feeder makes progress

        Raises:
            HungError: decoding one item takes longer than that
            OSError, msgspec.MsgspecError, RecursionError, InvalidReplyError: the feeder died, or its answer
                is not valid
        """
        self._wait(seconds, on_progress)
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

    def _wait(self, seconds: float, on_progress: Callable[[], None]) -> None:
        """Wait until an answer begins to arrive, or the process has ended."""
        poll = select.poll()
        poll.register(self._connection, select.POLLIN)
        seen, limit = self.progress(), TimeLimit(self.pid, seconds)
        while not poll.poll(LOOK_SECONDS * 1_000):
            progress = self.progress()
            if progress != seen:
                seen, limit = progress, TimeLimit(self.pid, seconds)
                on_progress()
            elif progress[1] is not None and limit.exceeded:
                raise HungError(progress[1], limit.excess)

    def kill(self) -> None:
        """Kill the process."""
        self._process.kill()

    def close(self) -> None:
        """Kill the process and free its memory."""
        self._process.kill()
        self._process.wait()
        self._connection.close()
        self._arena.close()


def _environment() -> dict[str, str]:
    """Return a feeder's environment: without secrets, which it does not need and images may take over."""
    secrets = {f"{PREFIX}{name}".upper() for name in SECRETS}
    return {**{name: value for name, value in os.environ.items() if name not in secrets}, **ONE_THREAD}
