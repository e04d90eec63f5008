"""Batches given to a device in as many turns as its memory asks for."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import structlog
import torch

from contract.errors import UnfitWorkerError
from worker.kernels.pixels import Pixels

T = TypeVar("T")


class Turns:
    """What is given to one model on one device; `fitting` is None until its memory did not hold a batch.

    A sample is of one size whatever the image, so what fits once fits always, and is remembered.

    Args:
        sample: what a batch is made of, in words
        parameter: which parameter chooses a smaller model
    """

    def __init__(self, device: torch.device, sample: str, parameter: str) -> None:
        self.fitting: int | None = None
        self._device = device
        self._sample, self._parameter = sample, parameter

    def run(self, batch: Pixels, forward: Callable[[Pixels], Sequence[T]]) -> list[T]:
        """Return what `forward` makes of each sample, in order.

        Raises:
            UnfitWorkerError: not even one sample fits, or the device has failed for good
            RuntimeError: the model fails on this batch
        """
        made: list[T] = []
        while len(made) < len(batch):
            turn = batch[len(made) :][: self.fitting]
            with self._judging(len(turn)):
                made += forward(turn)
                continue
            # Here, not where it is caught: the error's traceback holds the tensors that are to be freed.
            self._shrink(len(turn))
        return made

    @contextlib.contextmanager
    def _judging(self, size: int) -> Iterator[None]:
        """Let the block end early where the device's memory does not hold `size` samples, but holds fewer."""
        try:
            yield
        except torch.OutOfMemoryError as error:
            if size == 1:
                raise UnfitWorkerError(
                    f"the memory of {self._device} does not hold one {self._sample} ({error}): "
                    f"end what else runs there, or take a smaller {self._parameter}"
                ) from error
        except torch.AcceleratorError as error:
            # The device's context is lost: whatever this process sends there from now on fails too.
            raise UnfitWorkerError(
                f"the device {self._device} has failed and needs a new process ({error}): "
                "if that goes on, check its health (nvidia-smi -q, dmesg)"
            ) from error

    def _shrink(self, tried: int) -> None:
        # The least of both: another chunk's thread may have found out at the same time.
        self.fitting = min(tried // 2, self.fitting or tried)
        structlog.get_logger().warning("device_out_of_memory", tried=tried, next=self.fitting)
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
