"""ONNX Runtime on CPUs."""

import importlib.util
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt

from contract.cores import computing_cores
from contract.errors import SettingsError
from contract.telemetry import switch_off_telemetry
from worker.kernels.normalise import Normaliser
from worker.kernels.pixels import Pixels
from worker.models.runtimes.base import CROPS, Cut, ModelInput, RuntimeOptions


class OnnxRuntime:
    """An exported model under ONNX Runtime, on the CPU; its output is always logits.

    A batch is split into parts that fit the processor's caches, and each core runs one through all layers: a
    fifth faster than all cores together on each layer of the whole batch, where they wait for each other.
    The next batch enters once the last part has begun: no core waits for the last parts of another's batch.

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
        self._part = cut.part
        self._lanes = ThreadPoolExecutor(min(cores, cut.lanes), thread_name_prefix="onnx")
        self._entry = threading.Lock()

    def forward(self, batch: Pixels) -> npt.NDArray[np.float32]:
        """Return logits."""
        *parts, last = (batch[start : start + self._part] for start in range(0, len(batch), self._part))
        begun = threading.Event()
        with self._entry:
            running = [self._lanes.submit(self._run, part) for part in parts]
            running.append(self._lanes.submit(self._run, last, begun.set))
            begun.wait()
        return np.concatenate([future.result() for future in running])

    def _run(self, part: Pixels, on_begin: Callable[[], None] = lambda: None) -> Any:
        on_begin()
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
