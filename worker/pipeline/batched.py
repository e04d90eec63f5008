"""The one place where samples become batches: full ones, across items, or one by one if a batch fails."""

import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import takewhile
from typing import Generic, Protocol, TypeVar

import numpy as np

from contract.errors import ErrorCode, ItemError
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


def batched(
    owned: Iterable[tuple[T, Sequence[Pixels]]],
    model: Model[Y],
    run: ChunkRun,
    *,
    size: int,
    stage: str,
    code: ErrorCode,
    last: bool = False,
) -> Iterator[tuple[T, list[Y] | ItemError]]:
    """Yield each owner with the model's outputs for its samples, in order.

    Batches are full across owners, except the last one. If a batch fails, its samples are read one by one; an
    owner with a sample that fails alone is yielded with that error. An owner without samples is yielded in
    its place with an empty list.

    Args:
        owned: owners, each with its samples, (3, height, width) uint8 each, all of one shape
        model: reads the batches
        run: the run that the items belong to
        size: samples per batch
        stage: the timing key that the model's seconds are added to
        code: error code of a sample that the model fails on
        last: the model is the pipeline's last one: count its batches, and report the owners as progress
    """
    batch: _Batch[T, Y] = _Batch(model, run, size, stage, code, counted=last)
    for owner, samples in owned:
        # Progress is told where it is made, and for each batch: telling it here too would cost 1 us a crop.
        run.check_stop()
        if batch.add(owner, samples):
            yield from batch.complete()
    batch.read()
    yield from batch.complete()
    if last:
        run.timings.fitting_batch_size = model.fitting_batch_size


class _Waiting(Generic[T, Y]):
    """An owner that waits until all its samples are read."""

    __slots__ = ("error", "left", "made", "owner")

    def __init__(self, owner: T, samples: int) -> None:
        self.owner, self.left = owner, samples
        self.made: list[Y] = []
        self.error: ItemError | None = None

    def add(self, made: Y | ItemError) -> None:
        self.left -= 1
        if isinstance(made, ItemError):
            self.error = made
        else:
            self.made.append(made)


class _Batch(Generic[T, Y]):
    """A batch being filled, and the owners that wait for it; the first sample allocates its array."""

    def __init__(
        self, model: Model[Y], run: ChunkRun, size: int, stage: str, code: ErrorCode, *, counted: bool
    ) -> None:
        self._model, self._run, self._size = model, run, size
        self._stage, self._code, self._counted = stage, code, counted
        self._pixels: Pixels | None = None
        self._owners: list[_Waiting[T, Y]] = []
        self._waiting: deque[_Waiting[T, Y]] = deque()
        self._done = 0

    def add(self, owner: T, samples: Sequence[Pixels]) -> bool:
        """Add an owner's samples; read the batch each time it is full; return if an owner is complete."""
        waiting: _Waiting[T, Y] = _Waiting(owner, len(samples))
        self._waiting.append(waiting)
        for sample in samples:
            if self._pixels is None:
                self._pixels = np.empty((self._size, *sample.shape), np.uint8)
            self._pixels[len(self._owners)] = sample
            self._owners.append(waiting)
            if len(self._owners) == self._size:
                self.read()
        return self._waiting[0].left == 0

    def complete(self) -> Iterator[tuple[T, list[Y] | ItemError]]:
        """Yield the complete owners, in order, up to the first that still has unread samples."""
        waiting = self._waiting
        while waiting and waiting[0].left == 0:
            self._done += 1
            complete = waiting.popleft()
            yield complete.owner, complete.error or complete.made

    def read(self) -> None:
        """Read the samples added so far, and give each owner the outputs for its samples."""
        if self._pixels is None:
            return
        self._run.check_alive()
        pixels, owners = self._pixels[: len(self._owners)], self._owners
        self._pixels, self._owners = None, []
        started = time.perf_counter()
        for owner, made in zip(owners, self._made(pixels), strict=True):
            owner.add(made)
        self._run.timings.add(self._stage, time.perf_counter() - started)
        if self._counted:
            self._count(len(owners))

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
        read = sum(1 for _ in takewhile(lambda one: one.left == 0, self._waiting))
        self._run.on_progress(self._done + read)
