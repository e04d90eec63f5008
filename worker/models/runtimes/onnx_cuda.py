"""ONNX Runtime on NVIDIA GPUs, by its CUDA provider."""

from worker.models.runtimes.onnx_gpu import OnGpus

RUNTIME = OnGpus(
    "onnx_cuda",
    "CUDAExecutionProvider",
    # As torch's precisions: by default it rounds what convolutions multiply to TF32.
    lambda options: {"use_tf32": str(int(options.precision != "float32"))},
)
