"""Decode pages in child processes, so that one that crashes or hangs its decoder fails alone.

pdfium is not thread-safe besides, and several processes render at once. `worker.images.decoding` is the
child's program. Crops are decoded in feeders, a group at a time.
"""

import dataclasses
import math
from pathlib import Path

import msgspec
import numpy as np

from contract.child_processes import ChildPool, ChildProcess
from contract.errors import ChildCrashedError, ChildTimedOutError, ErrorCode, ItemError
from contract.frames import Data
from contract.pages import WITHOUT_FORMS
from worker.images.decode import DecodedImage
from worker.images.decoding import CHANNELS, Reply, Request

CROP, IMAGE = Request("crop"), Request("image")


class IsolatedDecoder:
    """Decodes one image at a time in a child that is started when needed and replaced when it dies.

    Args:
        max_pixels: maximum pixels of one image
        seconds: limit for one image, as `TimeLimit`
        max_memory: memory limit of the child in bytes
    """

    def __init__(self, max_pixels: int, seconds: float, max_memory: int) -> None:
        self._seconds = seconds
        self._formless = ""
        self._child = ChildProcess(
            "worker.images.decoding", max_pixels, max_memory, max_reply=max_pixels * CHANNELS
        )

    def decode(self, request: Request, data: bytes = b"") -> DecodedImage:
        """Return the image, as `decode_crop`, `decode_image` or `PageReader.page`.

        A document whose form fields crash or hang the child is read without them; the note says so.

        Raises:
            ItemError: as those functions; or with the code `worker_crashed` or `timed_out`
        """
        return self._with_forms(request) if request.forms else self._image(request, data)

    def page_count(self, path: Path) -> int:
        """Return how many pages a document has; raises ItemError as `contract.documents.page_count`."""
        return self._answer(Request("page", str(path)), b"")[0].pages

    def page_sizes(self, path: Path, pages: int, resolution: int) -> tuple[int, ...]:
        """Return the pixels of the first pages of a PDF at a resolution; raises ItemError as `page_count`."""
        return self._answer(Request("sizes", str(path), pages, resolution), b"")[0].sizes

    def close(self) -> None:
        """End the child, if one runs."""
        self._child.close()

    def _image(self, request: Request, data: bytes = b"") -> DecodedImage:
        reply, pixels = self._answer(request, data)
        if reply.shape is None or math.prod(reply.shape) != len(pixels):
            self._child.close()
            raise _crashed(request, "returned an invalid answer")
        pixels_of_shape = np.frombuffer(pixels, np.uint8).reshape(reply.shape)
        return DecodedImage(pixels_of_shape, reply.note, reply.resolution)

    def _with_forms(self, request: Request) -> DecodedImage:
        without = msgspec.structs.replace(request, forms=False)
        if request.path != self._formless:
            try:
                return self._image(request)
            except ItemError as error:
                broke = error.code in (ErrorCode.WORKER_CRASHED, ErrorCode.TIMED_OUT)
                if not (broke and self._answer(Request("page", request.path), b"")[0].forms):
                    raise
        image = self._image(without)
        # Not tried again for each further page of the document: it would take the time limit each time.
        self._formless = request.path
        return dataclasses.replace(image, note=WITHOUT_FORMS)

    def _answer(self, request: Request, data: bytes) -> tuple[Reply, Data]:
        try:
            reply, pixels = self._child.ask(request, Reply, self._seconds, data)
        except ChildTimedOutError as error:
            raise ItemError(
                ErrorCode.TIMED_OUT, f"decoding {request.name} {error}: save it again from the original"
            ) from error
        except ChildCrashedError as error:
            raise _crashed(request, str(error)) from error
        if reply.code:
            raise ItemError(reply.code, reply.message)
        return reply, pixels


DecoderPool = ChildPool[IsolatedDecoder]
"""Decoders for several threads: each thread has one to itself while it decodes; their number has no limit."""


def _crashed(request: Request, what: str) -> ItemError:
    return ItemError(
        ErrorCode.WORKER_CRASHED,
        f"decoding {request.name} {what}: save it again from the original, or leave it out",
    )
