"""ONNX Runtime on NVIDIA GPUs, by its TensorRT provider; CUDA runs what TensorRT does not know."""

from contract.model_store import doctr_cache
from worker.models.runtimes.base import RuntimeOptions
from worker.models.runtimes.onnx_cuda import cuda
from worker.models.runtimes.onnx_gpu import OnGpus, Providers

TENSORRT = "TensorrtExecutionProvider"


def _providers(options: RuntimeOptions) -> Providers:
    # Building an engine takes minutes: engines are kept beside the graphs.
    folder = str(doctr_cache() / "onnx")
    tensorrt = {
        "device_id": "0",
        "trt_fp16_enable": str(int(options.precision == "float16")),
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": folder,
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": folder,
    }
    return [(TENSORRT, tensorrt), *cuda(options)]


RUNTIME = OnGpus("onnx_tensorrt", TENSORRT, ("tf32", "float16"), _providers)
