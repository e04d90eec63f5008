"""Split batches to fit a device's memory."""

import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import structlog

from contract.errors import UnfitWorkerError
from worker.kernels.pixels import Pixels

T = TypeVar("T")


class OutOfDeviceMemoryError(RuntimeError):
    """The device's memory does not hold a batch."""


class Turns:
    """Runs one model's batches on one device; `fitting` is None until a batch did not fit into its memory.

    All samples have the same size, so a batch size that fits once always fits; it is remembered.

    Args:
        device: torch's name of the device
        sample: what one sample of a batch is, for messages
        parameter: the parameter that chooses a smaller model, for messages
    """

    def __init__(self, device: str, sample: str, parameter: str) -> None:
        self.fitting: int | None = None
        self._device = device
        self._sample, self._parameter = sample, parameter

    def run(self, batch: Pixels, forward: Callable[[Pixels], Sequence[T]]) -> list[T]:
        """Return the output of `forward` for each sample, in order.

        Raises:
            UnfitWorkerError: a single sample does not fit into memory, or the device has failed permanently
            RuntimeError: the model fails on this batch
        """
        made: list[T] = []
        while len(made) < len(batch):
            turn = batch[len(made) :][: self.fitting]
            with self._judging(len(turn)):
                made += forward(turn)
                continue
            # Not in the except block: the error's traceback holds the tensors that must be freed.
            self._shrink(len(turn))
        return made

    @contextlib.contextmanager
    def _judging(self, size: int) -> Iterator[None]:
        """Suppress an out-of-memory error of the block, which runs `size` samples, if fewer may fit."""
        try:
            yield
        except _out_of_memory() as error:
            if size == 1:
                raise UnfitWorkerError(
                    f"the memory of {self._device} does not hold one {self._sample} ({error}): "
                    f"stop other programs on it, or use a smaller {self._parameter}"
                ) from error
        except _errors_of_torch("AcceleratorError") as error:
            # The device's context is lost: everything that this process runs there from now on fails too.
            raise UnfitWorkerError(
                f"the device {self._device} has failed and needs a new process ({error}): "
                "if this happens again, check its health (nvidia-smi -q, dmesg)"
            ) from error

    def _shrink(self, tried: int) -> None:
        # The minimum of both: another chunk's thread may have run out of memory at the same time.
        self.fitting = min(tried // 2, self.fitting or tried)
        structlog.get_logger().warning("device_out_of_memory", tried=tried, next=self.fitting)
        release_memory()


def release_memory() -> None:
    """Give memory of GPUs that torch keeps for later back to the device."""
    torch = sys.modules.get("torch")
    if torch:
        torch.cuda.empty_cache()


def _out_of_memory() -> tuple[type[RuntimeError], ...]:
    return (OutOfDeviceMemoryError, *_errors_of_torch("OutOfMemoryError"))


def _errors_of_torch(name: str) -> tuple[type[RuntimeError], ...]:
    """Return a class of torch's errors; none in a process without torch, where it cannot have been raised."""
    torch = sys.modules.get("torch")
    return (getattr(torch, name),) if torch else ()
