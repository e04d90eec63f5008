"""How long a child process may take for one answer, on a busy machine too."""

import ctypes
import select
import socket
import sys
import time

WAITS = 5
"""Seconds that may pass for each second of processor time that a child may use: one that sleeps or waits
for ever ends, and one that shares its core with several others is not blamed for them. With the default
limit of an image it ends in half of `stall_seconds`, after which the worker would be ended instead."""

LOOK_SECONDS = 0.25
"""Seconds between looks at what a child has used."""


class TimeLimit:
    """Limits what a process may use from now on to some processor time, and to `WAITS` times that in all.

    Args:
        pid: of the process; it must not have been waited for
        seconds: of processor time

    Raises:
        OSError: there is no such process
    """

    def __init__(self, pid: int, seconds: float) -> None:
        self._pid, self._seconds = pid, seconds
        self._used = processor_seconds(pid)
        self.deadline = time.monotonic() + WAITS * seconds

    @property
    def exceeded(self) -> bool:
        """Whether the process has used more. Raises OSError as the class."""
        return self._busy() or time.monotonic() >= self.deadline

    @property
    def excess(self) -> str:
        """How the process exceeded the limit, for messages. Raises OSError as the class."""
        if self._busy():
            return f"took more than {self._seconds:g} s of processor time"
        return f"took longer than {WAITS * self._seconds:g} s"

    def wait(self, connection: socket.socket) -> None:
        """Wait until the process sends something or ends; raises TimeoutError if it exceeds the limit."""
        poll = select.poll()
        poll.register(connection, select.POLLIN)
        while not poll.poll(LOOK_SECONDS * 1_000):
            if self.exceeded:
                raise TimeoutError

    def _busy(self) -> bool:
        return processor_seconds(self._pid) - self._used > self._seconds


def processor_seconds(pid: int) -> float:
    """Return the processor time of a process and its threads; where only Linux could tell, the clock's time.

    Raises:
        OSError: there is no such process
    """
    if sys.platform != "linux":
        return time.monotonic()
    clock = ctypes.c_int()
    if error := ctypes.CDLL(None).clock_getcpuclockid(pid, ctypes.byref(clock)):
        raise OSError(error, f"the processor time of process {pid} is not known")
    return time.clock_gettime(clock.value)
