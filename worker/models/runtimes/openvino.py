"""OpenVINO on CPUs, for those that have instructions for bfloat16."""

import importlib.util
import sys
import threading
from typing import Any

from contract.cores import computing_cores
from contract.errors import SettingsError
from worker.kernels.normalise import Normaliser
from worker.kernels.pixels import Pixels
from worker.models.runtimes import onnx
from worker.models.runtimes.base import Cut, ModelInput, RuntimeOptions
from worker.models.runtimes.bfloat16 import has_bfloat16
from worker.models.runtimes.lanes import Lanes, Logits


class OpenVinoRuntime:
    """An exported model under OpenVINO, on the CPU; its output is always logits, in float32.

    Each core runs a part of a batch, in a stream of its own.

    Args:
        graph: the exported file's content
        takes: the model's input
        cut: how to split a batch
        bfloat16: compute in it, if the CPU has the instructions
    """

    name = "openvino"
    takes_turns = True

    def __init__(self, graph: bytes, takes: ModelInput, cut: Cut, *, bfloat16: bool) -> None:
        openvino = imported()
        cores = computing_cores()
        lanes = min(cores, cut.lanes)
        options = {
            "INFERENCE_PRECISION_HINT": "bf16" if bfloat16 and has_bfloat16() else "f32",
            "NUM_STREAMS": lanes,
            "INFERENCE_NUM_THREADS": cores,
            # Each process would bind its threads to the same first cores.
            "ENABLE_CPU_PINNING": False,
        }
        core = openvino.Core()
        self._model = core.compile_model(core.read_model(graph, b""), "CPU", options)
        compiled = self._model.get_property("INFERENCE_PRECISION_HINT")
        self.precision = "bfloat16" if compiled == openvino.Type.bf16 else "float32"
        self._normalise = Normaliser(takes.mean, takes.std)
        self._own = threading.local()
        self._lanes = Lanes(self._run, cut.part, lanes)

    def forward(self, batch: Pixels) -> Logits:
        """Return logits."""
        return self._lanes.run(batch)

    def _run(self, part: Pixels) -> Any:
        # A request runs one part at a time: each lane has its own.
        if not hasattr(self._own, "request"):
            self._own.request = self._model.create_infer_request()
        output = self._own.request.infer({0: self._normalise(part)}, share_inputs=True)[0]
        # The next part is written into the same memory.
        return output.copy()


def imported() -> Any:
    """Return the module `openvino`, imported without its telemetry."""
    # This reports to Intel that openvino is imported, and has no switch; openvino does without it.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    return openvino


def is_installed() -> bool:
    """Return whether models can be exported, and run by OpenVINO."""
    return onnx.is_installed() and importlib.util.find_spec("openvino") is not None


class _OnCpus:
    device = "cpu"

    def check(self) -> None:
        if not is_installed():
            raise SettingsError(
                "runtime openvino, which has bfloat16 on CPUs, is selected but not installed: "
                "pip install 'trace-ocr-batch[openvino]', or set TRACE_OCR_RUNTIME=auto and "
                "TRACE_OCR_PRECISION=float32"
            )

    def load(self, graph: bytes, takes: ModelInput, cut: Cut, options: RuntimeOptions) -> OpenVinoRuntime:
        return OpenVinoRuntime(graph, takes, cut, bfloat16=options.precision == "bfloat16")


RUNTIME = _OnCpus()
