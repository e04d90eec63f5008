"""The one place where samples become batches: full ones, across items, and one by one where that fails."""

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
    """What reads batches; `worker.models` holds the real ones."""

    @property
    def sample(self) -> str:
        """What a batch is made of, in words."""

    @property
    def parameter(self) -> str:
        """The parameter that chooses the architecture."""

    @property
    def fitting_batch_size(self) -> int | None:
        """None until the device runs out of memory, and from then on the samples that it is given at once."""

    def read(self, batch: Pixels) -> Sequence[Y_co]:
        """Return what the model makes of each sample, in as many turns as the device's memory asks for.

        Raises:
            UnfitWorkerError: not even one sample fits, or the device has failed for good
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
    """Yield each owner with what the model makes of its samples, in order.

    Batches are full across owners, but for the last one. Where a batch fails, its samples are read one by
    one; an owner with a sample that fails alone comes with that error. An owner without samples passes by.

    Args:
        owned: owners, each with its samples, (3, height, width) uint8 each, all of one shape
        size: samples per batch
        stage: what the model's seconds are added to
        code: of the error of a sample that the model fails on
        last: the model is the pipeline's last one: its batches and the owners that are read are counted
    """
    batch: _Batch[T, Y] = _Batch(model, run, size, stage, code, counted=last)
    for owner, samples in owned:
        run.check_alive()
        batch.add(owner, samples)
        yield from batch.complete()
    batch.read()
    yield from batch.complete()
    if last:
        run.timings.fitting_batch_size = model.fitting_batch_size


class _Waiting(Generic[T, Y]):
    """An owner some of whose samples are still to be read."""

    __slots__ = ("_error", "_made", "_owner", "_samples")

    def __init__(self, owner: T, samples: int) -> None:
        self._owner, self._samples = owner, samples
        self._made: list[Y] = []
        self._error: ItemError | None = None

    @property
    def is_complete(self) -> bool:
        return self._samples == 0

    def add(self, made: Y | ItemError) -> None:
        self._samples -= 1
        if isinstance(made, ItemError):
            self._error = made
        else:
            self._made.append(made)

    def outcome(self) -> tuple[T, list[Y] | ItemError]:
        return self._owner, self._error or self._made


class _Batch(Generic[T, Y]):
    """A batch that fills, and the owners that wait for it; its array is allocated with its first sample."""

    def __init__(
        self, model: Model[Y], run: ChunkRun, size: int, stage: str, code: ErrorCode, *, counted: bool
    ) -> None:
        self._model, self._run, self._size = model, run, size
        self._stage, self._code, self._counted = stage, code, counted
        self._pixels: Pixels | None = None
        self._owners: list[_Waiting[T, Y]] = []
        self._waiting: deque[_Waiting[T, Y]] = deque()
        self._done = 0

    def add(self, owner: T, samples: Sequence[Pixels]) -> None:
        """Take an owner's samples; each time that they fill the batch, it is read."""
        waiting: _Waiting[T, Y] = _Waiting(owner, len(samples))
        self._waiting.append(waiting)
        for sample in samples:
            if self._pixels is None:
                self._pixels = np.empty((self._size, *sample.shape), np.uint8)
            self._pixels[len(self._owners)] = sample
            self._owners.append(waiting)
            if len(self._owners) == self._size:
                self.read()

    def complete(self) -> Iterator[tuple[T, list[Y] | ItemError]]:
        """Yield the owners, in order, up to the first that still has samples to be read."""
        while self._waiting and self._waiting[0].is_complete:
            self._done += 1
            yield self._waiting.popleft().outcome()

    def read(self) -> None:
        """Give what is there to the model, and each owner what is made of its samples."""
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
        read = sum(1 for _ in takewhile(lambda one: one.is_complete, self._waiting))
        self._run.on_progress(self._done + read)
