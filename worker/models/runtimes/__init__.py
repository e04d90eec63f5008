"""What runs a model's forward on a device: torch, or an engine for its exported graph, one module each."""

from contract.registry import Registry
from worker.models.runtimes.base import GraphRuntime

GRAPH_RUNTIMES: Registry[GraphRuntime] = Registry(
    "worker.models.runtimes", "RUNTIME", ("ncnn", "onnx", "onnx_cuda", "onnx_tensorrt", "openvino")
)
"""The engines for exported graphs, by the value of the setting `runtime`."""
