"""What runs a model's forward on a device: torch, or ONNX Runtime where that is faster."""

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
"""Architectures whose exported graph gives the logits that docTR goes on with; `sar_resnet31` and `master`
spell character by character, and stay with torch."""

TOLERANCE = 1e-3
"""Greatest difference between an exported model's logits and torch's own, on noise: 3e-6 is what was seen."""

PROBE = 3
"""Pieces in that comparison: not the one piece that the export is traced with."""


@dataclass(frozen=True)
class Cut:
    """How ONNX Runtime is given a batch on a processor of many cores.

    Args:
        part: samples that one lane takes at once. Not a number that depends on the cores: what is read
            together must not depend on the machine.
        lanes: parts in work at once, at most; further cores work together on a part
    """

    part: int
    lanes: int


CROPS = Cut(part=16, lanes=8)
"""A batch of 128 crops."""

PAGES = Cut(part=1, lanes=2)
"""A batch of two pages, the contract's default; one has as many pixels as 256 crops."""

Output = Any
"""Logits as a tensor, to be decoded; or a list of (string, confidence) pairs, already decoded."""


@dataclass(frozen=True)
class RuntimeOptions:
    """The settings that choose a runtime.

    `auto` takes the fastest that is installed for the device: torch on a GPU, ONNX Runtime on a CPU.
    """

    runtime: Literal["auto", "torch", "onnx"] = "auto"
    precision: Literal["float32", "float16"] = "float32"
    torch_compile: bool = False


TORCH = RuntimeOptions("torch")
"""The runtime that every device and every architecture has."""


class Runtime(Protocol):
    """One model on one device; not called by two threads at once."""

    name: str
    precision: str

    def forward(self, batch: Pixels) -> Output:
        """Return what the model makes of a batch, (n, 3, height, width) uint8."""
        ...


class TorchRuntime:
    """The model as docTR built it.

    On a CPU it computes docTR's own bits. On a GPU convolutions are laid out channels-last, which is faster,
    and differs in the last bits, as any two GPUs do.

    Args:
        options: float16 and torch.compile may change a string; float16 is for GPUs alone
        logits: the model returns its logits instead of decoding them
    """

    name = "torch"

    def __init__(self, model: Any, device: torch.device, options: RuntimeOptions, *, logits: bool) -> None:
        self.precision: str = options.precision if device.type == "cuda" else "float32"
        self._layout = torch.channels_last if device.type == "cuda" else torch.contiguous_format
        self._model = model.to(device, memory_format=self._layout)
        self._device = device
        self._normalise = Normaliser(model.cfg, device)
        self._logits = logits
        if logits:
            model.exportable = True
        if options.torch_compile:
            # Batches are of one size but for a chunk's last: dynamic, so that it is not compiled for each.
            self._model = torch.compile(self._model, dynamic=True)
            self.name = "torch.compile"

    def forward(self, batch: Pixels) -> Output:
        """Return logits, or the pairs that the model decodes by itself."""
        half = self.precision == "float16"
        with torch.inference_mode(), torch.autocast(self._device.type, torch.float16, enabled=half):
            values = self._normalise(batch, self._layout)
            if self._logits:
                return self._model(values)["logits"].float()
            return self._model(values, return_preds=True)["preds"]


class OnnxRuntime:
    """An exported model under ONNX Runtime, on the CPU; its output is always logits.

    A batch is cut into parts that fit the processor's caches, and each core runs one from end to end: a fifth
    faster than all cores together on every layer of the whole batch, where they wait for each other.

    Args:
        graph: the exported file
        cfg: the model's `cfg`
    """

    name = "onnxruntime"
    precision = "float32"

    def __init__(self, graph: Path, cfg: dict[str, Any], cut: Cut = CROPS) -> None:
        import onnxruntime

        cores = torch.get_num_threads()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = max(1, cores // cut.lanes)
        # Threads that spin for their next piece of work take the processor from those that decode.
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
    """Return the runtime that the options ask for; torch where the other one cannot run the model.

    Args:
        identity: the model's architecture and `weights_sha256`
        logits: the model's logits are decoded by the caller

    Raises:
        SettingsError: ONNX Runtime was asked for and is not installed, or on a GPU
    """
    if _wants_onnx(identity, device, options):
        try:
            graph = exported(model, identity)
            return OnnxRuntime(graph, model.cfg, cut)
        # Any exception: exporters fail in many ways, and torch reads the same strings, only slower.
        except Exception as error:
            structlog.get_logger().warning("onnx_not_used", error=f"{type(error).__name__}: {error}")
    return TorchRuntime(model, device, options, logits=logits)


def _wants_onnx(identity: dict[str, str], device: torch.device, options: RuntimeOptions) -> bool:
    if options.runtime == "torch" or options.torch_compile:
        return False
    installed = _is_installed()
    if options.runtime == "onnx" and not installed:
        raise SettingsError(
            "runtime onnx was asked for, but is not installed: pip install 'trace-ocr-batch[onnx]', "
            "or set TRACE_OCR_RUNTIME=auto"
        )
    if options.runtime == "onnx" and device.type != "cpu":
        raise SettingsError("runtime onnx reads on CPUs only: set TRACE_OCR_RUNTIME=torch for GPUs")
    return installed and device.type == "cpu" and identity["architecture"] in EXPORTABLE


def _is_installed() -> bool:
    return all(importlib.util.find_spec(name) for name in ("onnx", "onnxruntime"))


def exported(model: Any, identity: dict[str, str]) -> Path:
    """Return the model's graph, from the cache or exported into it; one process of a machine at a time.

    The file's name has the weights' checksum and the versions that made it, so that it never goes stale.

    Raises:
        ValueError: the graph's logits are not the model's
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
    """Let docTR's model return its logits alone for a block."""
    before, model.exportable = model.exportable, True
    try:
        yield
    finally:
        model.exportable = before
