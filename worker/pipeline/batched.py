"""The one place where samples become batches: full ones, across blocks, or one by one if a batch fails."""

import time
from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from typing import Generic, NamedTuple, Protocol, TypeVar

import numpy as np

from contract.errors import ErrorCode, ItemError
from worker.kernels.pieces import Samples
from worker.kernels.pixels import Pixels
from worker.pipeline.run import ChunkRun

T = TypeVar("T")
Y = TypeVar("Y")
Y_co = TypeVar("Y_co", covariant=True)


class Model(Protocol[Y_co]):
    """A model that reads batches; the real ones are in `worker.models`."""

    @property
    def sample(self) -> str:
        """What one sample of a batch is, for messages."""

    @property
    def parameter(self) -> str:
        """The parameter that chooses the architecture."""

    @property
    def fitting_batch_size(self) -> int | None:
        """Samples per forward once the device has run out of memory; None until then."""

    def read(self, batch: Pixels) -> Sequence[Y_co]:
        """Return the model's output for each sample; splits the batch if the device's memory is too small.

        Raises:
            UnfitWorkerError: a single sample does not fit into memory, or the device has failed permanently
            RuntimeError: the model fails on this batch
        """


class Block(NamedTuple, Generic[T]):
    """Some items that follow each other, with the samples of all of them.

    Args:
        owner: what they belong to
        samples: of one shape in all blocks
        counts: the number of samples of each item
    """

    owner: T
    samples: Samples
    counts: Sequence[int]


def batched(
    blocks: Iterable[Block[T]],
    model: Model[Y],
    run: ChunkRun,
    *,
    size: int,
    stage: str,
    code: ErrorCode,
    last: bool = False,
) -> Iterator[tuple[T, list[Y | ItemError]]]:
    """Yield the owner of each block with the model's outputs for its samples, in order.

    Batches are full across blocks, except the last one. If a batch fails, its samples are read one by one; a
    sample that fails alone has that error in place of an output.

    Args:
        blocks: items with their samples
        model: reads the batches
        run: the run that the items belong to
        size: samples per batch
        stage: the timing key that the model's seconds are added to
        code: error code of a sample that the model fails on
        last: the model is the pipeline's last one: count its batches, and report the items as progress
    """
    batch: _Batch[T, Y] = _Batch(model, run, size, stage, code, counted=last)
    for block in blocks:
        run.check_stop()
        batch.add(block)
        yield from batch.complete()
    batch.read()
    yield from batch.complete()
    if last:
        run.timings.fitting_batch_size = model.fitting_batch_size


class _Waiting(Generic[T, Y]):
    """A block that waits until all its samples are read."""

    __slots__ = ("counts", "made", "owner", "size")

    def __init__(self, block: Block[T]) -> None:
        # Not the samples: they are free once their batch is read.
        self.owner, self.counts, self.size = block.owner, block.counts, len(block.samples)
        self.made: list[Y | ItemError] = []

    @property
    def is_complete(self) -> bool:
        return len(self.made) == self.size

    @property
    def items(self) -> int:
        """The items all of whose samples are read, up to the first that has others."""
        read = len(self.made)
        return len(self.counts) if read == self.size else bisect_right(list(accumulate(self.counts)), read)


class _Batch(Generic[T, Y]):
    """A batch being filled, and the blocks that wait for it; it is allocated once samples must be joined."""

    def __init__(
        self, model: Model[Y], run: ChunkRun, size: int, stage: str, code: ErrorCode, *, counted: bool
    ) -> None:
        self._model, self._run, self._size = model, run, size
        self._stage, self._code, self._counted = stage, code, counted
        self._parts: list[Samples] = []
        self._owners: list[tuple[_Waiting[T, Y], int]] = []
        self._left = size
        self._waiting: deque[_Waiting[T, Y]] = deque()
        self._done = 0

    def add(self, block: Block[T]) -> None:
        """Add a block's samples; read the batch each time it is full."""
        waiting: _Waiting[T, Y] = _Waiting(block)
        self._waiting.append(waiting)
        start, samples = 0, block.samples
        while start < len(samples):
            part = samples[start : start + self._left]
            self._parts.append(part)
            self._owners.append((waiting, len(part)))
            start += len(part)
            self._left -= len(part)
            if not self._left:
                self.read()

    def complete(self) -> Iterator[tuple[T, list[Y | ItemError]]]:
        """Yield the complete blocks, in order, up to the first that still has unread samples."""
        waiting = self._waiting
        while waiting and waiting[0].is_complete:
            complete = waiting.popleft()
            self._done += len(complete.counts)
            yield complete.owner, complete.made

    def read(self) -> None:
        """Read the samples added so far, and give each block the outputs for its samples."""
        if not self._parts:
            return
        self._run.check_alive()
        pixels, owners = _joined(self._parts), self._owners
        self._parts, self._owners, self._left = [], [], self._size
        started = time.perf_counter()
        made = self._made(pixels)
        assert len(made) == len(pixels)
        start = 0
        for waiting, count in owners:
            waiting.made += made[start : start + count]
            start += count
        self._run.timings.add(self._stage, time.perf_counter() - started)
        if self._counted:
            self._count(start)

    def _made(self, pixels: Pixels) -> Sequence[Y | ItemError]:
        try:
            return self._model.read(pixels)
        except RuntimeError:
            return [self._made_alone(pixels[index : index + 1]) for index in range(len(pixels))]

    def _made_alone(self, sample: Pixels) -> Y | ItemError:
        self._run.check_alive()
        model = self._model
        try:
            return model.read(sample)[0]
        except RuntimeError as error:
            return ItemError(
                self._code,
                f"the model failed on this {model.sample} alone ({type(error).__name__}: {error}): "
                f"try another {model.parameter}, or leave the {model.sample} out",
            )

    def _count(self, samples: int) -> None:
        self._run.timings.batches += 1
        self._run.timings.pieces += samples
        self._run.on_progress(self._done + sum(self._items_read()))

    def _items_read(self) -> Iterator[int]:
        """Yield the items read of each block that waits, up to the first that has unread ones."""
        for waiting in self._waiting:
            yield waiting.items
            if not waiting.is_complete:
                return


def _joined(parts: list[Samples]) -> Pixels:
    """Return samples as one array; a single array is not copied."""
    if len(parts) == 1 and isinstance(parts[0], np.ndarray):
        return parts[0]
    batch = np.empty((sum(map(len, parts)), *parts[0][0].shape), np.uint8)
    start = 0
    for part in parts:
        rows = batch[start : start + len(part)]
        if isinstance(part, np.ndarray):
            rows[:] = part
        else:
            np.stack(part, out=rows)
        start += len(part)
    return batch
