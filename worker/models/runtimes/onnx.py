"""ONNX Runtime on CPUs."""

import importlib.util
import os
from typing import Any

from contract.cores import computing_cores
from contract.errors import SettingsError
from contract.telemetry import switch_off_telemetry
from worker.kernels.normalise import Normaliser
from worker.kernels.pixels import Pixels
from worker.models.runtimes.base import CROPS, Cut, ModelInput, RuntimeOptions
from worker.models.runtimes.lanes import Lanes, Logits


class OnnxRuntime:
    """An exported model under ONNX Runtime, on the CPU; its output is always logits.

    A batch is split into parts, and each core runs one through all layers: a fifth faster than all cores
    together on each layer of the whole batch, where they wait for each other.

    Args:
        graph: the exported file's content
        takes: the model's input
        cut: how to split a batch
    """

    name = "onnxruntime"
    precision = "float32"
    takes_turns = True

    def __init__(self, graph: bytes, takes: ModelInput, cut: Cut = CROPS) -> None:
        onnxruntime = imported()
        cores = computing_cores()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = max(1, cores // cut.lanes)
        # Threads that spin while they wait for work take the processor from the decoding threads.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(graph, options, ["CPUExecutionProvider"])
        self._normalise = Normaliser(takes.mean, takes.std)
        self._lanes = Lanes(self._run, cut.part, min(cores, cut.lanes))

    def forward(self, batch: Pixels) -> Logits:
        """Return logits."""
        return self._lanes.run(batch)

    def _run(self, part: Pixels) -> Any:
        return self._session.run(None, {"input": self._normalise(part)})[0]


def imported() -> Any:
    """Return the module `onnxruntime`, imported without its telemetry."""
    # A worker has the switches from its launcher; benchmarks and other programs come here directly.
    switch_off_telemetry(os.environ)
    import onnxruntime

    return onnxruntime


def is_installed() -> bool:
    """Return whether models can be exported, and run by ONNX Runtime."""
    return all(importlib.util.find_spec(name) for name in ("onnx", "onnxruntime"))


class _OnCpus:
    device = "cpu"

    def check(self) -> None:
        if not is_installed():
            raise SettingsError(
                "runtime onnx is selected but not installed: pip install 'trace-ocr-batch[onnx]', "
                "or set TRACE_OCR_RUNTIME=auto"
            )

    def load(self, graph: bytes, takes: ModelInput, cut: Cut, _: RuntimeOptions) -> OnnxRuntime:
        return OnnxRuntime(graph, takes, cut)


RUNTIME = _OnCpus()
