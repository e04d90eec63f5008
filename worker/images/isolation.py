"""Images decoded in child processes, so that one that crashes or hangs costs only itself.

PDFs always are: pdfium is not thread-safe, and so several are rendered at once. Images are in careful mode,
the run of a chunk whose worker died. Children are spawned, not forked: a fork after torch has run hangs.
Pixels come back as raw bytes behind a JSON header, never as a pickle.
"""

import contextlib
import multiprocessing
import queue
import resource
import threading
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np

from contract.documents import page_count
from contract.errors import ErrorCode, ItemError
from contract.kinds.detection import PDF_RESOLUTION
from worker.images.decode import DecodedImage, decode_crop, decode_image
from worker.images.documents import PageReader

CRASHES_TO_BLAME = 2
"""Children that must die over the same image before it is blamed: one may have been killed from outside."""


START_SECONDS = 60.0
"""Longest wait for a child to start: some tenths of a second are usual, more on a machine that swaps."""


class Request(msgspec.Struct, frozen=True):
    """What to decode: an image whose bytes follow, or a page of a document.

    Args:
        page: counted from 1; 0 asks how many there are
        resolution: dots per inch, for PDFs
    """

    kind: Literal["crop", "image", "page"]
    path: str = ""
    page: int = 0
    resolution: int = PDF_RESOLUTION

    @property
    def name(self) -> str:
        """What messages call it."""
        if self.kind != "page":
            return "the image"
        return f"page {self.page}" if self.page else "the document"


CROP, IMAGE = Request("crop"), Request("image")


class _Reply(msgspec.Struct):
    """What the child says: an image's shape, (height, width, 3), a count of pages, or why there is none."""

    shape: tuple[int, int, int] | None = None
    pages: int = 0
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

    def decode(self, request: Request, data: bytes = b"") -> DecodedImage:
        """Return the image, as `decode_crop`, `decode_image` or `PageReader.page` do.

        Raises:
            ItemError: as those; or `worker_crashed`, `timed_out`
        """
        reply, pixels = self._answer(request, data)
        assert reply.shape is not None
        return DecodedImage(np.frombuffer(pixels, np.uint8).reshape(reply.shape), reply.note)

    def page_count(self, path: Path) -> int:
        """Return how many pages a document has; raises ItemError as `contract.documents.page_count`."""
        return self._answer(Request("page", str(path)), b"")[0].pages

    def _answer(self, request: Request, data: bytes) -> tuple[_Reply, bytearray]:
        with self._lock:
            for _ in range(CRASHES_TO_BLAME):
                try:
                    return self._ask(request, data)
                except (EOFError, OSError):
                    self._end()
        raise ItemError(
            ErrorCode.WORKER_CRASHED,
            f"decoding {request.name} crashed {CRASHES_TO_BLAME} processes in a row: "
            "save it anew from its original, or leave it out",
        )

    def close(self) -> None:
        """End the child, if there is one."""
        with self._lock:
            self._end()

    def _ask(self, request: Request, data: bytes) -> tuple[_Reply, bytearray]:
        connection = self._connection()
        connection.send_bytes(msgspec.json.encode(request))
        if request.kind != "page":
            connection.send_bytes(data)
        if not connection.poll(self._seconds):
            self._end()
            raise ItemError(
                ErrorCode.TIMED_OUT,
                f"decoding {request.name} took longer than {self._seconds:g} s: "
                "save it anew from its original",
            )
        reply = msgspec.json.decode(connection.recv_bytes(), type=_Reply)
        if reply.code:
            raise ItemError(reply.code, reply.message)
        return reply, bytearray(connection.recv_bytes()) if reply.shape else bytearray()

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


class DecoderPool:
    """Decoders for several threads; each has one for itself while it decodes, and there is always one more.

    Args:
        make: returns a decoder whose child is not started yet
    """

    def __init__(self, make: Callable[[], IsolatedDecoder]) -> None:
        self._make = make
        # The last one first: its child is running, and may have the same document open.
        self._idle: queue.LifoQueue[IsolatedDecoder] = queue.LifoQueue()

    @contextlib.contextmanager
    def lent(self) -> Iterator[IsolatedDecoder]:
        """Yield a decoder that nobody else has for the block."""
        try:
            decoder = self._idle.get_nowait()
        except queue.Empty:
            decoder = self._make()
        try:
            yield decoder
        finally:
            self._idle.put(decoder)

    def close(self) -> None:
        """End the children of those that nobody has."""
        while not self._idle.empty():
            self._idle.get_nowait().close()


def _serve(connection: Connection, max_pixels: int, max_memory: int) -> None:
    """Answer requests until the parent closes the pipe."""
    resource.setrlimit(resource.RLIMIT_DATA, (max_memory, max_memory))
    documents = PageReader(max_pixels)
    connection.send_bytes(b"ready")
    while True:
        try:
            request = msgspec.json.decode(connection.recv_bytes(), type=Request)
            data = b"" if request.kind == "page" else connection.recv_bytes()
        except EOFError:
            return
        try:
            reply, pixels = _reply(request, data, documents, max_pixels)
        except ItemError as error:
            reply, pixels = _Reply(code=error.code, message=error.message), None
        except MemoryError:
            message = f"decoding {request.name} needs more than {max_memory:,} bytes: save it smaller"
            reply, pixels = _Reply(code=ErrorCode.WORKER_CRASHED, message=message), None
        connection.send_bytes(msgspec.json.encode(reply))
        if pixels is not None:
            connection.send_bytes(pixels)


def _reply(
    request: Request, data: bytes, documents: PageReader, max_pixels: int
) -> tuple[_Reply, bytes | None]:
    path = Path(request.path)
    if request.kind == "page" and not request.page:
        return _Reply(pages=page_count(path)), None
    if request.kind == "page":
        image = documents.page(path, request.page, request.resolution)
    else:
        image = (decode_crop if request.kind == "crop" else decode_image)(data, max_pixels)
    height, width, _ = image.pixels.shape
    return _Reply(shape=(height, width, 3), note=image.note), image.pixels.tobytes()
