"""What all models that read batches have in common: one runtime on one device, its memory and its lock."""

import threading
from abc import ABC, abstractmethod
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
import torch

from worker.kernels.pixels import Pixels
from worker.models.memory import Turns
from worker.models.runtimes import Runtime

Y = TypeVar("Y")


class DeviceModel(ABC, Generic[Y]):
    """One architecture with its weights on one device; the forward is serialised.

    Args:
        model: docTR's model
        device: where it runs
        identity: what the summary says of it; the runtime's name and precision are added
        runtime: runs the model's forward
    """

    sample: ClassVar[str]
    """What a batch is made of, in words."""

    parameter: ClassVar[str]
    """The parameter that chooses the architecture."""

    def __init__(self, model: Any, device: torch.device, identity: dict[str, str], runtime: Runtime) -> None:
        self.input_shape: tuple[int, int, int] = tuple(model.cfg["input_shape"])
        self.identity = {**identity, "runtime": runtime.name, "precision": runtime.precision}
        self._runtime = runtime
        self._turns = Turns(device, self.sample, self.parameter)
        self._lock = threading.Lock()

    @property
    def fitting_batch_size(self) -> int | None:
        """None until the device runs out of memory, and from then on the samples that it is given at once."""
        return self._turns.fitting

    def warm_up(self) -> None:
        """Read one black sample: this makes the device and its libraries set up what the first forward needs.

        Raises:
            UnfitWorkerError: not even one sample can be read
        """
        self.read(np.zeros((1, *self.input_shape), np.uint8))

    def read(self, batch: Pixels) -> list[Y]:
        """Return what the model makes of each sample, in as many turns as the device's memory asks for.

        Args:
            batch: (n, 3, height, width) uint8; normalised on the device

        Raises:
            UnfitWorkerError: not even one sample fits, or the device has failed for good
            RuntimeError: the model fails on this batch
        """
        return self._turns.run(batch, self._forward)

    def _forward(self, batch: Pixels) -> list[Y]:
        with torch.inference_mode():
            with self._lock:
                output = self._runtime.forward(batch)
            # Outside the lock: while one chunk's output is decoded, the device has the other's batch.
            return self._decoded(output)

    @abstractmethod
    def _decoded(self, output: Any) -> list[Y]:
        """Return what the runtime's output means, a value for each sample."""
