"""A feeder's work: the items of a request to pieces in a slot."""

import os
import time
from collections.abc import Iterable

import numpy as np

from contract.errors import ErrorCode, ItemError
from contract.records import Item
from contract.shared_memory import anonymous_file, mapped
from worker.feeders.arena import Arena, Bytes
from worker.feeders.protocol import AS_IT_IS, FAILED, Reply, Request
from worker.images.decode import File
from worker.images.files import decoded_crop
from worker.kernels.pieces import PieceShape
from worker.kernels.pixels import Pixels

DECODING, PREPARING = 1, 2
"""Places of the seconds in a reply; the first are those for fetching."""


class SlotFullError(Exception):
    """An item's bytes do not fit behind those before it."""


class Preparing:
    """Makes the answer to one request.

    Args:
        arena: the shared memory
        max_pixels: maximum pixels of one image
        max_memory: memory limit of this process in bytes, for the message
    """

    def __init__(self, request: Request, arena: Arena, max_pixels: int, max_memory: int) -> None:
        self._arena, self._max_pixels, self._max_memory = arena, max_pixels, max_memory
        self._shape = request.feed.pieces
        self._slot = arena.slot(request.slot)
        self._seconds = [0.0, 0.0, 0.0]
        self._reply = Reply([])
        self.apart: int | None = None

    def answer(self, files: Iterable[tuple[Item, File | ItemError]], fetching: list[float]) -> Reply:
        """Return the answer: for the first items only if the slot or the memory does not hold them all.

        Args:
            files: the items with their files or errors
            fetching: seconds that fetching took, complete once the files are
        """
        reply = self._reply
        for place, (item, file) in enumerate(files):
            try:
                self._add(place, item, file)
            except ItemError as error:
                self._fail(place, error.code, error.message)
            except SlotFullError:
                break
            except MemoryError:
                # With others before it, it is not known to be this item's doing: it is asked for again.
                if place:
                    break
                message = f"decoding the image needs more than {self._max_memory:,} bytes: save it smaller"
                self._fail(place, ErrorCode.WORKER_CRASHED, message)
            if self.apart is not None:
                break
        self._arena.note(None)
        reply.seconds = (sum(fetching), self._seconds[DECODING], self._seconds[PREPARING])
        return reply

    def close(self) -> None:
        """Close the file of an item that is larger than a slot."""
        if self.apart is not None:
            os.close(self.apart)

    def _fail(self, place: int, code: ErrorCode, message: str) -> None:
        self._reply.counts.append(FAILED)
        self._reply.errors[place] = code, message

    def _add(self, place: int, item: Item, file: File | ItemError) -> None:
        if isinstance(file, ItemError):
            raise file
        assert isinstance(file, bytes)
        started = time.perf_counter()
        self._arena.note(place)
        try:
            image = decoded_crop(item, file, self._max_pixels)
        finally:
            decoded = time.perf_counter()
            self._seconds[DECODING] += decoded - started
        if self._shape is None or not self._put_pieces(place, image.pixels, self._shape):
            self._put_pixels(place, image.pixels)
        self._seconds[PREPARING] += time.perf_counter() - decoded
        if image.note:
            self._reply.notes[place] = image.note

    def _put_pieces(self, place: int, pixels: Pixels, shape: PieceShape) -> bool:
        """Write a crop's pieces; return False, with nothing written, if only torch can make them."""
        parts, crop_map = shape.cut(pixels)
        size = len(parts) * shape.size
        pieces = self._room(size, place).reshape(len(parts), 3, shape.height, shape.width)
        pieces.fill(0)
        if not all(map(shape.scale, parts, pieces)):
            self.close()
            self.apart, self._reply.apart = None, False
            return False
        self._reply.counts.append(len(parts))
        self._reply.size += size
        if crop_map[0]:
            self._reply.overlaps[place] = crop_map[0][2]
        return True

    def _put_pixels(self, place: int, pixels: Pixels) -> None:
        self._room(pixels.nbytes, place)[:] = np.ascontiguousarray(pixels).reshape(-1)
        self._reply.counts.append(AS_IT_IS)
        self._reply.size += pixels.nbytes
        self._reply.shapes[place] = pixels.shape[0], pixels.shape[1]

    def _room(self, size: int, place: int) -> Bytes:
        """Return where the next bytes go: in the slot, or for a first item that is too large in a file."""
        used = self._reply.size
        if used + size <= len(self._slot):
            return self._slot[used : used + size]
        if place:
            raise SlotFullError
        self.apart = anonymous_file(size)
        self._reply.apart = True
        return np.frombuffer(mapped(self.apart, size), np.uint8)
