"""ONNX Runtime on NVIDIA GPUs, by its TensorRT provider."""

from contract.model_store import doctr_cache
from worker.models.runtimes.base import RuntimeOptions
from worker.models.runtimes.onnx_gpu import OnGpus


def _options(options: RuntimeOptions) -> dict[str, str]:
    return {
        "trt_fp16_enable": str(int(options.precision == "float16")),
        # Building an engine takes minutes: it is kept beside the graph.
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": str(doctr_cache() / "onnx"),
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": str(doctr_cache() / "onnx"),
    }


RUNTIME = OnGpus("onnx_tensorrt", "TensorrtExecutionProvider", _options)
