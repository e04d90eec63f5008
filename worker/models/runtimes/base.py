"""The interface of runtimes, and what a model's exported graph needs besides itself. Needs no torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import msgspec

from worker.kernels.pixels import Pixels


@dataclass(frozen=True)
class Cut:
    """How to split a batch for a graph's engine on a processor with many cores.

    Args:
        part: samples that one lane runs at once. It does not depend on the number of cores: the machine must
            not decide which samples are read together.
        lanes: maximum parts that run at once; further cores share the work on a part
    """

    part: int
    lanes: int


CROPS = Cut(part=16, lanes=8)
"""For a batch of 128 crops."""

LARGE_MODELS_CROPS = Cut(part=8, lanes=8)
"""The same for models whose layers fill the caches with fewer crops."""

PAGES = Cut(part=1, lanes=2)
"""For a batch of two pages, the Trace OCR API's default; a page has as many pixels as 256 crops."""

Output = Any
"""Logits, a tensor or an array, also with what was read of them on a GPU, or a list of decoded (string,
confidence) pairs."""


@dataclass(frozen=True)
class RuntimeOptions:
    """The settings that choose a runtime.

    The runtime `auto` is the fastest one that is installed for the device: torch on a GPU, ONNX Runtime or
    ncnn on a CPU, OpenVINO for bfloat16. The others are `torch`, and the names in GRAPH_RUNTIMES.
    """

    runtime: str = "auto"
    precision: Literal["float32", "tf32", "float16", "bfloat16"] = "tf32"
    torch_compile: bool = False
    cuda_graphs: bool = True


TORCH = RuntimeOptions("torch")
"""The runtime that works on every device, for every architecture."""


class Runtime(Protocol):
    """One model on one device; thread-safe only if it takes turns itself.

    Args:
        takes_turns: `forward` may be called by several threads; it decides whose batch is next
    """

    name: str
    precision: str
    takes_turns: bool

    def forward(self, batch: Pixels) -> Output:
        """Return the model's output for a batch, (n, 3, height, width) uint8."""
        ...


class ModelInput(msgspec.Struct, frozen=True):
    """What a model takes: samples of `shape`, (3, height, width), normalised by channel from 0..1."""

    shape: tuple[int, int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def of(cls, cfg: Mapping[str, Any]) -> "ModelInput":
        """Return that of docTR's model from its `cfg`."""
        return cls(tuple(cfg["input_shape"]), tuple(cfg["mean"]), tuple(cfg["std"]))


class GraphRuntime(Protocol):
    """An engine that runs exported graphs on one type of device, 'cpu' or 'cuda'."""

    device: str

    def check(self) -> None:
        """Raise SettingsError if the engine is not installed."""
        ...

    def load(self, graph: bytes, takes: ModelInput, cut: Cut, options: RuntimeOptions) -> Runtime:
        """Return a graph, a file of ONNX, ready to run.

        Raises:
            SettingsError: the engine cannot use the device
        """
        ...
