"""A feeder's program: `python -P -m worker.feeders.program LIMITS ARENA`, started by `worker.feeders.pool`.

Imports no torch: it would take a second and 200 MB per feeder.
"""

import contextlib
import queue
import resource
import socket
import sys
import threading
import traceback
from pathlib import Path

import msgspec

from contract.child_processes import Ready, die_with_parent
from contract.errors import StorageError
from contract.frames import receive_frame, send_descriptor, send_frame
from worker.feeders.arena import Arena
from worker.feeders.fetching import Files
from worker.feeders.preparing import Preparing
from worker.feeders.protocol import Limits, Reply, Request
from worker.kernels.pieces import PieceShape

OOM_SCORE = 500
"""Raises a feeder's place in the kernel's choice of what to kill when memory is short: its group is read
again in a second, while the device process loads its models for minutes."""


STACK_BYTES = 1 << 20
"""Bytes of a thread's stack."""


class Feeder:
    """Answers requests in their order, and fetches the files of the next ones meanwhile."""

    def __init__(self, limits: Limits, arena: Arena) -> None:
        self._limits, self._arena = limits, arena
        self._files = Files(limits.fetch_threads, limits.max_bytes, limits.max_document_bytes)
        self._requests: queue.SimpleQueue[tuple[Request, bytes] | None] = queue.SimpleQueue()

    def serve(self, connection: socket.socket) -> None:
        """Answer until the device process closes the connection."""
        # A thread of its own: requests are always taken, so that neither side waits for the other to read.
        threading.Thread(target=self._receive, args=(connection,), daemon=True).start()
        while taken := self._requests.get():
            self._answer(connection, *taken)

    def _receive(self, connection: socket.socket) -> None:
        try:
            while True:
                request, data = receive_frame(connection, Request, sys.maxsize)
                self._files.ahead(request)
                self._requests.put((request, bytes(data)))
        except OSError:
            self._requests.put(None)

    def _answer(self, connection: socket.socket, request: Request, data: bytes) -> None:
        preparing = Preparing(request, self._arena, self._limits.max_pixels, self._limits.max_memory)
        with self._files.of(request, data) as (files, seconds):
            try:
                reply = preparing.answer(files, seconds)
            except Exception as error:
                if not isinstance(error, StorageError):
                    traceback.print_exc()
                reply = Reply([], failure=(type(error).__name__, str(error)))
        reply.requests = self._files.requests()
        send_frame(connection, msgspec.json.encode(reply), b"")
        if preparing.apart is not None:
            send_descriptor(connection, preparing.apart)
            preparing.close()


def main() -> None:
    """Serve until the worker closes the connection."""
    die_with_parent()
    limits, descriptor = msgspec.json.decode(sys.argv[1], type=Limits), int(sys.argv[2])
    # Stacks count as memory that may be written.
    threading.stack_size(STACK_BYTES)
    _die_first()
    _warm_up()
    _limit_memory(limits.max_memory)
    with socket.socket(fileno=sys.stdin.fileno()) as connection, contextlib.suppress(ConnectionError):
        send_frame(connection, msgspec.json.encode(Ready()), b"")
        Feeder(limits, Arena(descriptor, limits.slots)).serve(connection)


def _die_first() -> None:
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(str(OOM_SCORE))


def _warm_up() -> None:
    """Load the machine code, whose compiler takes more memory than an image may."""
    import numpy as np

    from worker.kernels.png import decode_small  # noqa: F401 - loads libdeflate and numba

    shape = PieceShape(32, 128, 8, 6, 0.5)
    shape.scale(np.zeros((20, 50, 3), np.uint8), np.zeros((3, 32, 128), np.uint8))


def _limit_memory(more: int) -> None:
    """Limit this process to what it takes now and so many bytes more."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    now = next((int(line.split()[1]) << 10 for line in lines if line.startswith("VmData:")), 0)
    resource.setrlimit(resource.RLIMIT_DATA, (now + more, now + more))


if __name__ == "__main__":
    main()
