"""Settings of models on their devices."""

from typing import Literal

from pydantic import BaseModel, Field

from contract.kinds import KindName
from contract.settings.lists import Listed


class Models(BaseModel):
    """Where models run, what runs them, and which are loaded first."""

    devices: str = Field("auto", description="'cpu', 'auto', or CUDA device numbers such as 0,1")
    runtime: Literal["auto", "torch", "ncnn", "onnx", "onnx_cuda", "onnx_tensorrt", "openvino"] = Field(
        "auto",
        description="what runs the models; on CPUs 'auto' is ONNX Runtime if installed, else torch, and "
        "'ncnn' if installed for detection models that it runs faster; 'openvino' has bfloat16 on CPUs; "
        "'onnx_cuda' and 'onnx_tensorrt' are ONNX Runtime's providers for GPUs",
    )
    precision: Literal["float32", "tf32", "float16", "bfloat16"] = Field(
        "tf32",
        description="on GPUs: 'tf32' is docTR's own there; 'float32' has a CPU's confidences, and is up to "
        "ten times slower; 'float16' rounds most. On CPUs: 'bfloat16', by OpenVINO, is faster if the CPU "
        "has it, moves confidences and may change an uncertain string; the others are float32",
    )
    torch_compile: bool = Field(
        False, description="compile models when they are loaded; takes minutes, for GPUs and long jobs"
    )
    cuda_graphs: bool = Field(
        True, description="on GPUs with torch: start a forward by one call instead of one for each operation"
    )
    preload: Listed[KindName] = Field(
        (), description="comma-separated kinds of jobs whose default models a worker loads when it starts"
    )
    ready_folder: str | None = Field(
        None,
        description="folder where each worker process touches a file while it serves, from when the "
        "models of 'preload' are loaded; for health checks",
    )
