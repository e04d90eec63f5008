"""Base of all models that read batches: one runtime on one device, with its memory and its lock."""

import contextlib
import threading
from abc import ABC, abstractmethod
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np

from worker.kernels.pixels import Pixels
from worker.models.memory import Turns
from worker.models.runtimes.base import Runtime

Y = TypeVar("Y")


class DeviceModel(ABC, Generic[Y]):
    """One architecture with its weights on one device; only one batch is read at a time.

    A runtime that takes turns itself may begin the next one while parts of the last one run.

    Args:
        input_shape: (3, height, width) of a sample
        device: torch's name of the device
        identity: what the summary says about it; the runtime's name and precision are added
        runtime: runs the model's forward
    """

    sample: ClassVar[str]
    """What one sample of a batch is, for messages."""

    parameter: ClassVar[str]
    """The parameter that chooses the architecture."""

    def __init__(
        self, input_shape: tuple[int, int, int], device: str, identity: dict[str, str], runtime: Runtime
    ) -> None:
        self.input_shape = input_shape
        self.identity = {**identity, "runtime": runtime.name, "precision": runtime.precision}
        self._runtime = runtime
        self._turns = Turns(device, self.sample, self.parameter)
        self._lock = threading.Lock()

    @property
    def fitting_batch_size(self) -> int | None:
        """Samples per forward once the device has run out of memory; None until then."""
        return self._turns.fitting

    def warm_up(self) -> None:
        """Read one black sample, so that the device and its libraries are ready for the first forward.

        Raises:
            UnfitWorkerError: a single sample does not fit into memory, or the device has failed
        """
        self.read(np.zeros((1, *self.input_shape), np.uint8))
        # A model that could not be compiled runs as it is.
        self.identity["runtime"] = self._runtime.name

    def read(self, batch: Pixels) -> list[Y]:
        """Return the model's output for each sample; splits the batch if the device's memory is too small.

        Args:
            batch: (n, 3, height, width) uint8; normalised on the device

        Raises:
            UnfitWorkerError: a single sample does not fit into memory, or the device has failed permanently
            RuntimeError: the model fails on this batch
        """
        return self._turns.run(batch, self._forward)

    def _forward(self, batch: Pixels) -> list[Y]:
        with contextlib.nullcontext() if self._runtime.takes_turns else self._lock:
            output = self._runtime.forward(batch)
        # Outside the lock: while one chunk's output is decoded, the device runs the other's batch.
        return self._decoded(output)

    @abstractmethod
    def _decoded(self, output: Any) -> list[Y]:
        """Return the decoded output of the runtime, one value per sample."""
