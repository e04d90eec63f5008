"""Child processes: Python programs that run only installed code, and end when their parent does.

A `ChildProcess` opens untrusted files, which may crash it, hang it or take it over. So its memory and the
time of each answer are bounded, and its answers are not trusted: an answer is a frame of a known type and up
to a known size, never a pickle.
"""

import contextlib
import ctypes
import os
import queue
import resource
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Generic, Protocol, TypeVar

import msgspec

from contract.errors import ChildCrashedError, ChildTimedOutError
from contract.frames import Data, receive_frame, send_frame
from contract.time_limits import TimeLimit

PR_SET_PDEATHSIG = 1
"""From Linux's <sys/prctl.h>: sets the signal this process gets when the thread that started it ends."""

CRASHES_TO_BLAME = 2
"""Children that must die on the same request before it is blamed: one may have been killed from outside."""

START_SECONDS = 60.0
"""Limit of a child's start, as `TimeLimit`: usually some tenths of a second, more on a machine that swaps."""

ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
"""Variables for a child's libraries, which it uses from one thread. numpy and OpenCV have an OpenBLAS each,
whose buffers take 180 MB for every further core: with 13 cores more than a decoder's limit."""

R = TypeVar("R")


class Ready(msgspec.Struct):
    """A child's first message, sent once its program is loaded."""


def python_module(module: str) -> list[str]:
    """Return the command that runs an installed module as a program.

    `-P` keeps the current folder off the import path: it is not trusted, and may hold a `redis.py`.
    """
    return [sys.executable, "-P", "-m", module]


def die_with_parent() -> None:
    """Ask the kernel to end this process when the thread that started it ends; run in the child.

    Linux only; on other systems the children of a killed parent keep running until they end by themselves.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def start_child(
    command: list[str], environment: Mapping[str, str], pass_fds: Sequence[int] = ()
) -> tuple[subprocess.Popen[bytes], socket.socket]:
    """Start a program whose standard input is a socket; return it with the other end.

    Args:
        pass_fds: further descriptors that the program inherits, under the same numbers
    """
    ours, theirs = socket.socketpair()
    with theirs:
        # Not forked by Python: a fork after torch has run hangs. In its own process group, so that a
        # terminal's Ctrl-C reaches only the parent.
        process = subprocess.Popen(
            command,
            env=environment,
            stdin=theirs.fileno(),
            stdout=subprocess.DEVNULL,
            process_group=0,
            pass_fds=pass_fds,
        )
    return process, ours


def wait_until_ready(process: subprocess.Popen[bytes], connection: socket.socket) -> None:
    """Wait until a child's program is loaded; raises OSError or msgspec.MsgspecError if it does not start."""
    limit = TimeLimit(process.pid, START_SECONDS)
    limit.wait(connection)
    receive_frame(connection, Ready, 0, limit.deadline)


class ChildProcess:
    """A program that answers one request at a time; started at the first one, and replaced when it dies.

    Args:
        module: the module to run; it calls `serve`
        arguments: its command-line arguments
        max_reply: maximum bytes of the data of one answer
    """

    def __init__(self, module: str, *arguments: object, max_reply: int = 0) -> None:
        self._command = [*python_module(module), *map(str, arguments)]
        self._max_reply = max_reply
        self._lock = threading.Lock()
        self._running: tuple[subprocess.Popen[bytes], socket.socket] | None = None

    @property
    def pid(self) -> int | None:
        """The process id, or None while no process runs."""
        return self._running[0].pid if self._running else None

    def ask(
        self, request: msgspec.Struct, reply: type[R], seconds: float, data: bytes = b""
    ) -> tuple[R, Data]:
        """Return the answer and its data.

        Args:
            reply: the type of the answer; an answer of another type counts as a crash
            seconds: limit for the answer, as `TimeLimit`; starting the process does not count
            data: the data of the request

        Raises:
            ChildCrashedError: CRASHES_TO_BLAME processes died on it, or gave an invalid answer
            ChildTimedOutError: the answer took longer
        """
        with self._lock:
            for _ in range(CRASHES_TO_BLAME):
                try:
                    connection = self._connection()
                except (OSError, msgspec.MsgspecError):
                    self._end()
                    continue
                try:
                    return self._answer(connection, request, reply, seconds, data)
                except ChildTimedOutError:
                    self._end()
                    raise
                except (OSError, msgspec.MsgspecError, RecursionError):
                    self._end()
        raise ChildCrashedError(f"crashed {CRASHES_TO_BLAME} processes in a row")

    def close(self) -> None:
        """End the process, if one runs; the next request starts another."""
        with self._lock:
            self._end()

    def _answer(
        self, connection: socket.socket, request: msgspec.Struct, reply: type[R], seconds: float, data: bytes
    ) -> tuple[R, Data]:
        assert self._running
        limit = TimeLimit(self._running[0].pid, seconds)
        try:
            send_frame(connection, msgspec.json.encode(request), data, limit.deadline)
            limit.wait(connection)
            return receive_frame(connection, reply, self._max_reply, limit.deadline)
        except TimeoutError as error:
            raise ChildTimedOutError(limit.excess) from error

    def _connection(self) -> socket.socket:
        if self._running and self._running[0].poll() is not None:
            # It died between two requests: neither one caused it.
            self._end()
        if not self._running:
            process, ours = start_child(self._command, {**os.environ, **ONE_THREAD})
            self._running = process, ours
            wait_until_ready(process, ours)
        return self._running[1]

    def _end(self) -> None:
        if self._running:
            process, connection = self._running
            connection.close()
            process.kill()
            process.wait()
            self._running = None


class Closeable(Protocol):
    """What a pool holds: a `ChildProcess`, or a wrapper around one."""

    def close(self) -> None:
        """End the process."""


C = TypeVar("C", bound=Closeable)


class ChildPool(Generic[C]):
    """Children for several threads; each thread has one to itself while it asks.

    Args:
        make: returns a child whose process is not started yet
        most: maximum children at once, threads wait for a free one; None for no limit
    """

    def __init__(self, make: Callable[[], C], most: int | None = None) -> None:
        self._make = make
        # Last in, first out: its process is running, and may have the same document open.
        self._idle: queue.LifoQueue[C] = queue.LifoQueue()
        self._free: contextlib.AbstractContextManager[Any] = (
            threading.Semaphore(most) if most else contextlib.nullcontext()
        )

    @contextlib.contextmanager
    def lent(self) -> Iterator[C]:
        """Lend a child to the caller alone for the block."""
        with self._free:
            try:
                child = self._idle.get_nowait()
            except queue.Empty:
                child = self._make()
            try:
                yield child
            finally:
                self._idle.put(child)

    def close(self) -> None:
        """End the processes of the idle children."""
        while not self._idle.empty():
            self._idle.get_nowait().close()


def serve(request: type[R], answer: Callable[[R, Data], tuple[msgspec.Struct, Any]], max_memory: int) -> None:
    """Answer requests until the parent closes the connection; the program of a child.

    Args:
        request: the type of requests
        answer: called with a request and its data; returns the answer and its data (any buffer)
        max_memory: memory limit of this process in bytes
    """
    die_with_parent()
    resource.setrlimit(resource.RLIMIT_DATA, (max_memory, max_memory))
    with socket.socket(fileno=sys.stdin.fileno()) as connection, contextlib.suppress(ConnectionError):
        send_frame(connection, msgspec.json.encode(Ready()), b"")
        while True:
            reply, made = answer(*receive_frame(connection, request, sys.maxsize))
            send_frame(connection, msgspec.json.encode(reply), made)
