"""ONNX Runtime on NVIDIA GPUs, by its CUDA provider."""

from worker.models.runtimes.base import RuntimeOptions
from worker.models.runtimes.onnx_gpu import OnGpus, Providers

CUDA = "CUDAExecutionProvider"


def cuda(options: RuntimeOptions) -> Providers:
    """Return the provider on the one GPU that the process sees; as torch, it rounds to TF32 by default."""
    return [(CUDA, {"device_id": "0", "use_tf32": str(int(options.precision != "float32"))})]


RUNTIME = OnGpus("onnx_cuda", CUDA, ("float32", "tf32"), cuda)
