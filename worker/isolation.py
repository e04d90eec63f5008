"""Careful mode: images decoded in a child process, so that one that crashes or hangs costs only itself.

A chunk whose worker died is decoded this way on its next run. The child is spawned, not forked: a fork after
torch has run hangs. Pixels come back as raw bytes behind a JSON header, never as a pickle.
"""

import multiprocessing
import resource
import threading
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

import msgspec
import numpy as np

from contract.errors import ErrorCode, ItemError
from worker.decode import DecodedImage, decode_crop

CRASHES_TO_BLAME = 2
"""Children that must die over the same image before it is blamed: one may have been killed from outside."""


START_SECONDS = 60.0
"""Longest wait for a child to start: some tenths of a second are usual, more on a machine that swaps."""


class _Reply(msgspec.Struct):
    """What the child says of one image: its shape, (height, width, 3), or why there is none."""

    shape: tuple[int, int, int] | None = None
    note: str | None = None
    code: ErrorCode | None = None
    message: str = ""


class IsolatedDecoder:
    """Decodes one image at a time in a child that is started when needed and replaced when it dies.

    Args:
        max_pixels: as `decode_crop`
        seconds: longest time for one image
        max_memory: bytes that the child may allocate
    """

    def __init__(self, max_pixels: int, seconds: float, max_memory: int) -> None:
        self._limits = (max_pixels, max_memory)
        self._seconds = seconds
        self._lock = threading.Lock()
        self._child: tuple[BaseProcess, Connection] | None = None

    def decode(self, data: bytes) -> DecodedImage:
        """Return the image, as `decode_crop` does.

        Raises:
            ItemError: as `decode_crop`; or `worker_crashed`, `timed_out`
        """
        with self._lock:
            for _ in range(CRASHES_TO_BLAME):
                try:
                    return self._ask(data)
                except (EOFError, OSError):
                    self._end()
        raise ItemError(
            ErrorCode.WORKER_CRASHED,
            f"decoding the image crashed {CRASHES_TO_BLAME} processes in a row: "
            "save it anew from its original, or leave it out",
        )

    def close(self) -> None:
        """End the child, if there is one."""
        with self._lock:
            self._end()

    def _ask(self, data: bytes) -> DecodedImage:
        connection = self._connection()
        connection.send_bytes(data)
        if not connection.poll(self._seconds):
            self._end()
            raise ItemError(
                ErrorCode.TIMED_OUT,
                f"decoding the image took longer than {self._seconds:g} s: save it anew from its original",
            )
        reply = msgspec.json.decode(connection.recv_bytes(), type=_Reply)
        if reply.shape is None:
            raise ItemError(reply.code or ErrorCode.WORKER_CRASHED, reply.message)
        pixels = np.frombuffer(bytearray(connection.recv_bytes()), np.uint8).reshape(reply.shape)
        return DecodedImage(pixels, reply.note)

    def _connection(self) -> Connection:
        if self._child is None:
            context = multiprocessing.get_context("spawn")
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs, *self._limits), daemon=True)
            process.start()
            theirs.close()
            self._child = process, ours
            # Its start does not count towards the first image's time.
            if not ours.poll(START_SECONDS):
                raise EOFError
            ours.recv_bytes()
        return self._child[1]

    def _end(self) -> None:
        if self._child:
            process, connection = self._child
            connection.close()
            process.kill()
            process.join()
            self._child = None


def _serve(connection: Connection, max_pixels: int, max_memory: int) -> None:
    """Answer images until the parent closes the pipe."""
    resource.setrlimit(resource.RLIMIT_DATA, (max_memory, max_memory))
    connection.send_bytes(b"ready")
    while True:
        try:
            data = connection.recv_bytes()
        except EOFError:
            return
        try:
            image = decode_crop(data, max_pixels)
        except ItemError as error:
            reply = _Reply(code=error.code, message=error.message)
        except MemoryError:
            message = f"decoding the image needs more than {max_memory:,} bytes: save it smaller"
            reply = _Reply(code=ErrorCode.WORKER_CRASHED, message=message)
        else:
            height, width, _ = image.pixels.shape
            connection.send_bytes(msgspec.json.encode(_Reply(shape=(height, width, 3), note=image.note)))
            connection.send_bytes(image.pixels.tobytes())
            continue
        connection.send_bytes(msgspec.json.encode(reply))
