"""Runtimes that run a model's forward on a device: torch, or ONNX Runtime where it is faster."""

import contextlib
import hashlib
import importlib.metadata
import importlib.util
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import structlog
import torch
from doctr.models.utils import export_model_to_onnx
from filelock import FileLock

from contract.errors import SettingsError
from contract.model_store import doctr_cache
from contract.records import SHOWN
from contract.telemetry import switch_off_telemetry
from worker.kernels.normalise import Normaliser
from worker.kernels.pixels import Pixels

EXPORTABLE = (
    "db_resnet50",
    "db_resnet34",
    "db_mobilenet_v3_large",
    "linknet_resnet18",
    "linknet_resnet34",
    "linknet_resnet50",
    "fast_tiny",
    "fast_small",
    "fast_base",
    "crnn_vgg16_bn",
    "crnn_mobilenet_v3_small",
    "crnn_mobilenet_v3_large",
    "vitstr_small",
    "vitstr_base",
    "parseq",
    "viptr_tiny",
)
"""Architectures whose exported graph returns the logits that docTR decodes. `sar_resnet31` and `master`
decode character by character, and always use torch."""

TOLERANCE = 1e-3
"""Maximum difference between an exported model's logits and torch's, on noise; the measured one is 3e-6."""

PROBE = 3
"""Samples in that comparison; more than the one sample that the export is traced with."""


@dataclass(frozen=True)
class Cut:
    """How to split a batch for ONNX Runtime on a processor with many cores.

    Args:
        part: samples that one lane runs at once. It does not depend on the number of cores: the machine must
            not decide which samples are read together.
        lanes: maximum parts that run at once; further cores share the work on a part
    """

    part: int
    lanes: int


CROPS = Cut(part=16, lanes=8)
"""For a batch of 128 crops."""

PAGES = Cut(part=1, lanes=2)
"""For a batch of two pages, the Trace OCR API's default; a page has as many pixels as 256 crops."""

Output = Any
"""Logits as a tensor, or a list of decoded (string, confidence) pairs."""


@dataclass(frozen=True)
class RuntimeOptions:
    """The settings that choose a runtime.

    `auto` uses the fastest one that is installed for the device: torch on a GPU, ONNX Runtime on a CPU.
    """

    runtime: Literal["auto", "torch", "onnx"] = "auto"
    precision: Literal["float32", "tf32", "float16"] = "tf32"
    torch_compile: bool = False


TORCH = RuntimeOptions("torch")
"""The runtime that works on every device, for every architecture."""


class Runtime(Protocol):
    """One model on one device; not thread-safe."""

    name: str
    precision: str

    def forward(self, batch: Pixels) -> Output:
        """Return the model's output for a batch, (n, 3, height, width) uint8."""
        ...


class TorchRuntime:
    """The model as docTR built it.

    On a CPU it computes the same bits as docTR. On a GPU convolutions use the channels-last layout, which is
    faster, and differs in the last bits, as any two GPUs do. By default torch also rounds what they multiply
    to TF32, which moved a confidence by 0.04; the precision `float32` does without, for the whole process.

    Args:
        options: tf32, float16 and torch.compile may change a string; the precision is only used on GPUs
        logits: return the model's logits instead of decoding them
    """

    name = "torch"

    def __init__(self, model: Any, device: torch.device, options: RuntimeOptions, *, logits: bool) -> None:
        self.precision: str = options.precision if device.type == "cuda" else "float32"
        if device.type == "cuda":
            torch.backends.cudnn.allow_tf32 = options.precision != "float32"
        self._layout = torch.channels_last if device.type == "cuda" else torch.contiguous_format
        self._model = model.to(device, memory_format=self._layout)
        self._device = device
        self._normalise = Normaliser(model.cfg, device)
        self._logits = logits
        if logits:
            model.exportable = True
        self._compiled: Any = None
        if options.torch_compile:
            # Only a chunk's last batch has another size: dynamic avoids compiling for each size.
            self._compiled = torch.compile(self._model, dynamic=True)
            self.name = "torch.compile"

    def forward(self, batch: Pixels) -> Output:
        """Return logits, or the pairs that the model decodes itself."""
        half = self.precision == "float16"
        with torch.inference_mode(), torch.autocast(self._device.type, torch.float16, enabled=half):
            values = self._normalise(batch, self._layout)
            if self._logits:
                return self._run(values)["logits"].float()
            return self._run(values, return_preds=True)["preds"]

    def _run(self, values: torch.Tensor, **options: bool) -> Any:
        if self._compiled is None:
            return self._model(values, **options)
        try:
            return self._compiled(values, **options)
        except (torch.OutOfMemoryError, torch.AcceleratorError):
            raise
        # Any exception: compilers fail in many ways, and the model reads the same without one.
        except Exception as error:
            self._compiled, self.name = None, TorchRuntime.name
            structlog.get_logger().warning(
                "torch_compile_not_used",
                error=f"{type(error).__name__}: {str(error)[:SHOWN]}",
                advice="it needs a C compiler and a folder for temporary files that programs may run in",
            )
        return self._model(values, **options)


class OnnxRuntime:
    """An exported model under ONNX Runtime, on the CPU; its output is always logits.

    A batch is split into parts that fit the processor's caches, and each core runs one through all layers: a
    fifth faster than all cores together on each layer of the whole batch, where they wait for each other.

    Args:
        graph: the exported file
        cfg: the model's `cfg`
        cut: how to split a batch
    """

    name = "onnxruntime"
    precision = "float32"

    def __init__(self, graph: Path, cfg: dict[str, Any], cut: Cut = CROPS) -> None:
        # A worker has the switches from its launcher; benchmarks and other programs come here directly.
        switch_off_telemetry(os.environ)
        import onnxruntime

        cores = torch.get_num_threads()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = max(1, cores // cut.lanes)
        # Threads that spin while they wait for work take the processor from the decoding threads.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(str(graph), options, ["CPUExecutionProvider"])
        self._normalise = Normaliser(cfg, torch.device("cpu"))
        self._part = cut.part
        self._lanes = ThreadPoolExecutor(min(cores, cut.lanes), thread_name_prefix="onnx")

    def forward(self, batch: Pixels) -> Output:
        """Return logits."""
        parts = (batch[start : start + self._part] for start in range(0, len(batch), self._part))
        return torch.from_numpy(np.concatenate(list(self._lanes.map(self._run, parts))))

    def _run(self, part: Pixels) -> Any:
        values = self._normalise(part, torch.contiguous_format)
        return self._session.run(None, {"input": values.numpy()})[0]


def make_runtime(
    model: Any,
    identity: dict[str, str],
    device: torch.device,
    options: RuntimeOptions,
    *,
    logits: bool,
    cut: Cut = CROPS,
) -> Runtime:
    """Return the runtime that the options select, or torch if that one cannot run the model.

    Args:
        identity: the model's architecture and `weights_sha256`
        logits: the caller decodes the model's logits
        cut: how ONNX Runtime splits a batch

    Raises:
        SettingsError: the options require ONNX Runtime, but it is not installed or the device is a GPU
    """
    if _wants_onnx(identity, device, options):
        try:
            graph = exported(model, identity)
            return OnnxRuntime(graph, model.cfg, cut)
        # Any exception: exporters fail in many ways, and torch reads the same strings, but slower.
        except Exception as error:
            structlog.get_logger().warning("onnx_not_used", error=f"{type(error).__name__}: {error}")
    return TorchRuntime(model, device, options, logits=logits)


def _wants_onnx(identity: dict[str, str], device: torch.device, options: RuntimeOptions) -> bool:
    if options.runtime == "torch" or options.torch_compile:
        return False
    installed = _is_installed()
    if options.runtime == "onnx" and not installed:
        raise SettingsError(
            "runtime onnx is selected but not installed: pip install 'trace-ocr-batch[onnx]', "
            "or set TRACE_OCR_RUNTIME=auto"
        )
    if options.runtime == "onnx" and device.type != "cpu":
        raise SettingsError("runtime onnx runs on CPUs only: set TRACE_OCR_RUNTIME=torch for GPUs")
    return installed and device.type == "cpu" and identity["architecture"] in EXPORTABLE


def _is_installed() -> bool:
    return all(importlib.util.find_spec(name) for name in ("onnx", "onnxruntime"))


def exported(model: Any, identity: dict[str, str]) -> Path:
    """Return the model's graph from the cache, exporting it if needed; a lock admits one process at a time.

    The file's name depends on the weights' checksum and the versions of docTR and torch, so it is never
    stale.

    Raises:
        ValueError: the graph's logits differ from the model's
    """
    versions = [importlib.metadata.version(name) for name in ("python-doctr", "torch")]
    key = hashlib.sha256("-".join([identity["weights_sha256"], *versions]).encode()).hexdigest()[:32]
    folder = doctr_cache() / "onnx"
    folder.mkdir(parents=True, exist_ok=True)
    graph = folder / f"{identity['architecture']}-{key}.onnx"
    with FileLock(folder / ".trace-ocr.lock"):
        if not graph.exists():
            unfinished = folder / f".{graph.stem}.{os.getpid()}"
            try:
                made = Path(_export(model, unfinished))
                _verify(model, OnnxRuntime(made, model.cfg))
                made.replace(graph)
            finally:
                unfinished.with_name(unfinished.name + ".onnx").unlink(missing_ok=True)
    return graph


def _export(model: Any, target: Path) -> str:
    """Export with docTR's own exporter, which adds `.onnx` to the name; return the file's name."""
    with _exportable(model):
        return export_model_to_onnx(model, str(target), torch.zeros(1, *model.cfg["input_shape"]))


def _verify(model: Any, runtime: OnnxRuntime) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (PROBE, *model.cfg["input_shape"]), np.uint8)
    with _exportable(model), torch.inference_mode():
        values = Normaliser(model.cfg, torch.device("cpu"))(noise, torch.contiguous_format)
        expected = model(values)["logits"]
    difference = float((runtime.forward(noise) - expected).abs().max())
    if not difference <= TOLERANCE:
        raise ValueError(f"the exported model's logits differ by {difference:g} from torch's")


@contextlib.contextmanager
def _exportable(model: Any) -> Iterator[None]:
    """Make docTR's model return only its logits for a block."""
    before, model.exportable = model.exportable, True
    try:
        yield
    finally:
        model.exportable = before
