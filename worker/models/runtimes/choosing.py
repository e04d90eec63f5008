"""Which runtime reads with a model: the settings, the device and the architecture decide."""

from contract.errors import SettingsError
from worker.models.runtimes import GRAPH_RUNTIMES
from worker.models.runtimes.base import CROPS, LARGE_MODELS_CROPS, Cut, GraphRuntime, RuntimeOptions

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

LARGE = ("crnn_vgg16_bn", "vitstr_small", "vitstr_base", "parseq")
"""Recognition models that read in smaller parts: `python -m benchmarks.parts` compares the sizes."""


def crop_cut(architecture: str) -> Cut:
    """Return how an engine splits a recognition model's batches."""
    return LARGE_MODELS_CROPS if architecture in LARGE else CROPS


def graph_runtime(architecture: str, device: str, options: RuntimeOptions) -> GraphRuntime | None:
    """Return the engine that runs the architecture's exported graph; None to run the model with torch.

    Args:
        device: torch's name of the device

    Raises:
        SettingsError: the options ask for an engine that is not installed, or not for this device
    """
    if options.runtime == "torch" or options.torch_compile:
        return None
    engine = _automatic(device) if options.runtime == "auto" else _asked_for(options.runtime, device)
    return engine if architecture in EXPORTABLE else None


def check_runtime(device: str, options: RuntimeOptions) -> None:
    """Raise SettingsError if the options ask for an engine that is not installed, or not for this device."""
    graph_runtime(EXPORTABLE[0], device, options)


def _automatic(device: str) -> GraphRuntime | None:
    engine = GRAPH_RUNTIMES["onnx"]
    if device != engine.device:
        return None
    try:
        engine.check()
    except SettingsError:
        return None
    return engine


def _asked_for(name: str, device: str) -> GraphRuntime:
    engine = GRAPH_RUNTIMES[name]
    if device.partition(":")[0] != engine.device:
        where, other = ("CPUs", "GPUs") if engine.device == "cpu" else ("NVIDIA GPUs", "CPUs")
        raise SettingsError(f"runtime {name} runs on {where} only: set TRACE_OCR_RUNTIME=auto for {other}")
    engine.check()
    return engine
