"""Which runtime reads with a model: the settings, the device and the architecture decide."""

import structlog

from contract.errors import SettingsError
from worker.models.runtimes import GRAPH_RUNTIMES
from worker.models.runtimes.base import CROPS, LARGE_MODELS_CROPS, Cut, GraphRuntime, RuntimeOptions
from worker.models.runtimes.bfloat16 import has_bfloat16

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

WINOGRAD = (
    "db_resnet50",
    "db_resnet34",
    "linknet_resnet18",
    "linknet_resnet34",
    "fast_tiny",
    "fast_small",
    "fast_base",
)
"""Architectures that ncnn runs, whose time is spent in 3 x 3 convolutions: 1.2 to 1.7 times as fast as ONNX
Runtime (`python -m benchmarks detectors`, docs/decisions/0035)."""

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
        SettingsError: the options ask for an engine that is not installed, or not for this device, or for a
            precision that it does not have
    """
    if options.precision == "bfloat16":
        _check_bfloat16(device, options)
    if options.runtime == "torch" or options.torch_compile:
        return None
    name = _automatic(architecture, device, options) if options.runtime == "auto" else options.runtime
    engine = _asked_for(name, device) if name else None
    if name == "ncnn" and architecture not in WINOGRAD:
        engine = GRAPH_RUNTIMES["onnx"]
    return engine if architecture in EXPORTABLE else None


def check_runtime(device: str, options: RuntimeOptions) -> None:
    """Raise SettingsError as `graph_runtime`; warn if this CPU does not have the precision."""
    graph_runtime(EXPORTABLE[0], device, options)
    if options.precision == "bfloat16" and not has_bfloat16():
        structlog.get_logger().warning(
            "bfloat16_not_used",
            advice="this CPU has no instructions for bfloat16 (AVX512_BF16, AMX): models run in float32 here",
        )


def _check_bfloat16(device: str, options: RuntimeOptions) -> None:
    if device != "cpu":
        raise SettingsError(
            "precision bfloat16 is for CPUs only: set TRACE_OCR_PRECISION=float16 or tf32 for GPUs"
        )
    if options.torch_compile:
        raise SettingsError(
            "torch_compile has no precision bfloat16: set TRACE_OCR_TORCH_COMPILE=false, "
            "or TRACE_OCR_PRECISION=float32"
        )
    if options.runtime not in ("auto", "openvino"):
        raise SettingsError(
            f"runtime {options.runtime} has no precision bfloat16: set TRACE_OCR_RUNTIME=auto, "
            "or TRACE_OCR_PRECISION=float32"
        )


def _automatic(architecture: str, device: str, options: RuntimeOptions) -> str | None:
    # A CPU without the instructions would gain nothing by OpenVINO.
    if options.precision == "bfloat16" and has_bfloat16():
        return "openvino"
    if device != "cpu":
        return None
    names = ("ncnn", "onnx") if architecture in WINOGRAD else ("onnx",)
    return next((name for name in names if _is_installed(name)), None)


def _is_installed(name: str) -> bool:
    try:
        GRAPH_RUNTIMES[name].check()
    except SettingsError:
        return False
    return True


def _asked_for(name: str, device: str) -> GraphRuntime:
    engine = GRAPH_RUNTIMES[name]
    if device.partition(":")[0] != engine.device:
        where, other = ("CPUs", "GPUs") if engine.device == "cpu" else ("NVIDIA GPUs", "CPUs")
        raise SettingsError(f"runtime {name} runs on {where} only: set TRACE_OCR_RUNTIME=auto for {other}")
    engine.check()
    return engine
