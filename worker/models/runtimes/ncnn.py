"""ncnn on CPUs: convolutions by Winograd's algorithm, in float32, for models that are made of them."""

from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
import structlog

from contract.cores import computing_cores
from contract.errors import SettingsError
from worker.kernels.normalise import Normaliser
from worker.kernels.pixels import Pixels
from worker.models.runtimes import onnx
from worker.models.runtimes.base import Cut, ModelInput, Runtime, RuntimeOptions
from worker.models.runtimes.lanes import Lanes, Logits
from worker.models.runtimes.ncnn_files import INPUT, OUTPUT, NcnnFiles, converted
from worker.models.runtimes.onnx import OnnxRuntime

ROUNDING = (
    "use_fp16_packed",
    "use_fp16_storage",
    "use_fp16_arithmetic",
    "use_bf16_packed",
    "use_bf16_storage",
)
"""ncnn's options that round weights or values to 16 bits; some are on by default."""

TOLERANCE = 1e-3
"""Maximum difference from ONNX Runtime's logits, on noise, in parts of the largest; 2e-5 was measured."""


class NcnnRuntime:
    """A converted model under ncnn, on the CPU; its output is always logits.

    Each core runs a sample of a batch.

    Args:
        files: the converted model
        takes: the model's input
        cut: how to split a batch
    """

    name = "ncnn"
    precision = "float32"
    takes_turns = True

    def __init__(self, files: NcnnFiles, takes: ModelInput, cut: Cut) -> None:
        self._ncnn: Any = import_module("ncnn")
        cores = computing_cores()
        self._net = self._ncnn.Net()
        options = self._net.opt
        options.num_threads = max(1, cores // cut.lanes)
        options.use_vulkan_compute = False
        for name in ROUNDING:
            setattr(options, name, False)
        # Larger tiles are no faster, and round twice as much.
        options.use_winograd63_convolution = False
        if self._net.load_param(str(files.param)) or self._net.load_model(str(files.weights)):
            raise ValueError(f"ncnn cannot read its files, remove this folder: {files.param.parent}")
        self._normalise = Normaliser(takes.mean, takes.std)
        self._lanes = Lanes(self._run, cut.part, min(cores, cut.lanes))

    def forward(self, batch: Pixels) -> Logits:
        """Return logits."""
        return self._lanes.run(batch)

    def _run(self, part: Pixels) -> Logits:
        return np.stack([self._read(sample) for sample in self._normalise(part)])

    def _read(self, sample: Logits) -> Logits:
        extractor = self._net.create_extractor()
        extractor.input(INPUT, self._ncnn.Mat(sample))
        status, output = extractor.extract(OUTPUT)
        if status:
            raise RuntimeError(f"ncnn ended with status {status}: out of memory?")
        # The matrix's memory is ncnn's.
        return np.array(output)


def is_installed() -> bool:
    """Return whether models can be exported and converted, and run by ncnn."""
    return onnx.is_installed() and all(find_spec(name) for name in ("ncnn", "pnnx"))


class _OnCpus:
    device = "cpu"

    def check(self) -> None:
        if not is_installed():
            raise SettingsError(
                "runtime ncnn is selected but not installed: pip install 'trace-ocr-batch[ncnn]', "
                "or set TRACE_OCR_RUNTIME=auto"
            )

    def load(self, graph: bytes, takes: ModelInput, cut: Cut, _: RuntimeOptions) -> Runtime:
        def verify(files: NcnnFiles) -> None:
            _verify(NcnnRuntime(files, takes, cut), OnnxRuntime(graph, takes, cut), takes)

        try:
            return NcnnRuntime(converted(graph, takes.shape, verify), takes, cut)
        # Any exception, as of an exporter: ONNX Runtime reads the same strings, but slower.
        except Exception as error:
            structlog.get_logger().warning("ncnn_not_used", error=f"{type(error).__name__}: {error}")
            return OnnxRuntime(graph, takes, cut)


def _verify(runtime: Runtime, reference: Runtime, takes: ModelInput) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (1, *takes.shape), np.uint8)
    expected = reference.forward(noise)
    difference = float(np.abs(runtime.forward(noise) - expected).max() / np.abs(expected).max())
    if not difference <= TOLERANCE:
        raise ValueError(f"the converted model's logits differ by {difference:g} from the graph's")


RUNTIME = _OnCpus()
