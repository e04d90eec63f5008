"""torch: docTR's model as docTR built it."""

from collections.abc import Callable
from typing import Any, NamedTuple

import structlog
import torch

from contract.records import SHOWN
from worker.kernels.normalise import Normaliser
from worker.kernels.pixels import Pixels
from worker.models.runtimes.base import Output, RuntimeOptions
from worker.models.runtimes.cuda_graphs import CudaGraphs, Outputs, moved

Read = Callable[[torch.Tensor], torch.Tensor]
"""Logits on a GPU to what is read of them there."""


class ReadLogits(NamedTuple):
    """Logits on a GPU, with what was read of them in the same forward."""

    logits: torch.Tensor
    read: torch.Tensor


class TorchRuntime:
    """The model as docTR built it.

    On a CPU it computes the same bits as docTR. On a GPU convolutions use the channels-last layout, which is
    faster, and differs in the last bits, as any two GPUs do. By default torch also rounds what they multiply
    to TF32, which moved a confidence by 0.04; the precision `float32` does without, for the whole process.

    Args:
        device: torch's name of the device
        options: tf32, float16 and torch.compile may change a string; precision and graphs are for GPUs only
        logits: return the model's logits instead of decoding them
        read: computed of the logits on a GPU, in the same forward
    """

    name = "torch"
    takes_turns = False

    def __init__(
        self, model: Any, device: str, options: RuntimeOptions, *, logits: bool, read: Read | None = None
    ) -> None:
        self._device = torch.device(device)
        on_gpu = self._device.type == "cuda"
        self.precision: str = options.precision if on_gpu else "float32"
        if on_gpu:
            torch.backends.cudnn.allow_tf32 = options.precision != "float32"
        self._layout = torch.channels_last if on_gpu else torch.contiguous_format
        self._model = model.to(self._device, memory_format=self._layout)
        self._normalise = (
            GpuNormaliser(model.cfg, self._device, self._layout) if on_gpu else _on_cpu(model.cfg)
        )
        self._logits, self._read = logits, read if on_gpu else None
        # A model that decodes its own output waits for the device in between, which no graph can.
        graphs = on_gpu and logits and options.cuda_graphs and not options.torch_compile
        self._graphs = CudaGraphs(self._outputs_of, self._device) if graphs else None
        if logits:
            model.exportable = True
        self._compiled: Any = None
        if options.torch_compile:
            # Only a chunk's last batch has another size: dynamic avoids compiling for each size.
            self._compiled = torch.compile(self._model, dynamic=True)
            self.name = "torch.compile"

    def forward(self, batch: Pixels) -> Output:
        """Return logits, with what is read of them on a GPU, or the pairs that the model decodes itself."""
        half = self.precision == "float16"
        with torch.inference_mode(), torch.autocast(self._device.type, torch.float16, enabled=half):
            if self._graphs:
                return _output(self._graphs(batch))
            pixels = moved(torch.from_numpy(batch), self._device)
            if self._logits:
                return _output(self._outputs_of(pixels))
            return self._run(self._normalise(pixels), return_preds=True)["preds"]

    def _outputs_of(self, pixels: torch.Tensor) -> Outputs:
        logits: torch.Tensor = self._run(self._normalise(pixels))["logits"].float()
        return (logits, self._read(logits)) if self._read else (logits,)

    def _run(self, values: torch.Tensor, **options: bool) -> Any:
        if self._compiled is None:
            return self._model(values, **options)
        try:
            return self._compiled(values, **options)
        except (torch.OutOfMemoryError, torch.AcceleratorError):
            raise
        # Any exception: compilers fail in many ways, and the model reads the same without one.
        except Exception as error:
            self._compiled, self.name = None, TorchRuntime.name
            structlog.get_logger().warning(
                "torch_compile_not_used",
                error=f"{type(error).__name__}: {str(error)[:SHOWN]}",
                advice="it needs a C compiler and a folder for temporary files that programs may run in",
            )
        return self._model(values, **options)


def _output(outputs: Outputs) -> Output:
    return ReadLogits(*outputs) if len(outputs) > 1 else outputs[0]


class GpuNormaliser:
    """Normalises batches on a GPU: docTR's operations in docTR's order.

    Args:
        cfg: the model's `cfg`; `mean` and `std` are per channel, of values in 0..1
        layout: the memory format of what it returns
    """

    def __init__(self, cfg: dict[str, Any], device: torch.device, layout: torch.memory_format) -> None:
        self._layout = layout
        # Made once: a new tensor for each batch would stall a GPU until it is copied there.
        self._mean, self._std = (
            torch.tensor(cfg[name], dtype=torch.float32, device=device).view(-1, 1, 1)
            for name in ("mean", "std")
        )

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return samples on the GPU, (n, 3, height, width) uint8, as float32."""
        scaled = pixels.to(torch.float32, memory_format=self._layout).div_(255)
        return scaled.sub_(self._mean).div_(self._std)


def _on_cpu(cfg: dict[str, Any]) -> Any:
    normalise = Normaliser(cfg["mean"], cfg["std"])
    return lambda pixels: torch.from_numpy(normalise(pixels.numpy()))
