"""What ONNX Runtime's providers for GPUs have in common."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from contract.errors import SettingsError
from contract.records import SHOWN
from worker.kernels.normalise import Normaliser
from worker.kernels.pixels import Pixels
from worker.models.memory import OutOfDeviceMemoryError
from worker.models.runtimes.base import Cut, ModelInput, RuntimeOptions
from worker.models.runtimes.onnx import imported, is_installed

Providers = list[tuple[str, dict[str, str]]]
"""ONNX Runtime's providers with their options, the preferred one first."""

NO_MEMORY = "Failed to allocate memory"
"""What ONNX Runtime's message says when the device's memory is full; its error has no type of its own."""


class OnnxGpuRuntime:
    """An exported model under ONNX Runtime on a GPU; its output is always logits.

    Args:
        session: ONNX Runtime's session of the graph
        takes: the model's input
        name, precision: what the summary says
    """

    takes_turns = False

    def __init__(self, session: Any, takes: ModelInput, name: str, precision: str) -> None:
        self.name, self.precision = name, precision
        self._session = session
        self._normalise = Normaliser(takes.mean, takes.std)

    def forward(self, batch: Pixels) -> npt.NDArray[np.float32]:
        """Return logits.

        Raises:
            OutOfDeviceMemoryError: the device's memory does not hold the batch
        """
        try:
            logits: npt.NDArray[np.float32] = self._session.run(None, {"input": self._normalise(batch)})[0]
        except RuntimeError as error:
            if NO_MEMORY in str(error):
                raise OutOfDeviceMemoryError(str(error)[:SHOWN]) from error
            raise
        return logits


@dataclass(frozen=True)
class OnGpus:
    """One of ONNX Runtime's providers for GPUs.

    Args:
        name: the value of the setting `runtime`
        provider: ONNX Runtime's name of it
        precisions: values of the setting `precision` that it has
        providers: the provider with its options from the settings, and those for what it does not run
    """

    name: str
    provider: str
    precisions: tuple[str, ...]
    providers: Callable[[RuntimeOptions], Providers]
    device: str = "cuda"

    def check(self) -> None:
        """Raise SettingsError if ONNX Runtime is not installed with this provider."""
        found = imported().get_available_providers() if is_installed() else []
        if self.provider not in found:
            has = f"has only {', '.join(found)}" if found else "is not installed"
            raise SettingsError(
                f"runtime {self.name} needs {self.provider} of ONNX Runtime, which {has}: "
                "pip install onnx onnxruntime-gpu in onnxruntime's place, or set TRACE_OCR_RUNTIME=auto"
            )

    def load(self, graph: bytes, takes: ModelInput, _: Cut, options: RuntimeOptions) -> OnnxGpuRuntime:
        """Return a graph on the process's one visible GPU.

        Raises:
            SettingsError: the provider does not load, or does not have the precision
        """
        if options.precision not in self.precisions:
            raise SettingsError(
                f"runtime {self.name} has no precision {options.precision}: "
                f"set TRACE_OCR_PRECISION to {' or '.join(self.precisions)}"
            )
        session = imported().InferenceSession(graph, providers=self.providers(options))
        # It falls back to the CPU with a line in its log alone.
        if session.get_providers()[0] != self.provider:
            raise SettingsError(
                f"{self.provider} is installed and did not load: ONNX Runtime's log above names the library "
                "that is missing or of another version (CUDA, cuDNN, TensorRT); install it, or set "
                "TRACE_OCR_RUNTIME=auto"
            )
        return OnnxGpuRuntime(session, takes, self.name.replace("onnx", "onnxruntime"), options.precision)
