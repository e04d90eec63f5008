"""CUDA graphs: a forward is recorded once for a size of batches, and then started by one call.

A small model is a few hundred operations of microseconds each. Started one by one from Python, they take
longer to start than to run.
"""

from collections.abc import Callable

import structlog
import torch

from contract.records import SHOWN
from worker.kernels.pixels import Pixels

Outputs = tuple[torch.Tensor, ...]

Forward = Callable[[torch.Tensor], Outputs]
"""Samples on the device, (n, 3, height, width) uint8, to logits and what is computed of them."""

Record = Callable[[Forward, torch.Tensor], tuple[Callable[[], None], Outputs]]
"""A forward and its fixed input to a function that replays it, and its fixed outputs."""

KEPT = 2
"""Graphs that a model keeps: for a job's batches, and for uploads. Each keeps the memory of a forward."""


class CudaGraphs:
    """A model's forward, with a graph for each size of batches that comes twice in a row.

    Full batches follow each other; the last batch of a chunk, of any size, comes alone.

    Args:
        forward: what is recorded; it must not wait for the device
        device: a GPU
        record: records the forward
    """

    def __init__(self, forward: Forward, device: torch.device, record: Record | None = None) -> None:
        self._forward, self._device, self._record = forward, device, record or recorded
        self._graphs: dict[int, _Graph] = {}
        self._previous = 0
        self._refused = False

    def __call__(self, batch: Pixels) -> Outputs:
        """Return a batch's outputs, which later calls leave as they are.

        Args:
            batch: (n, 3, height, width) uint8
        """
        pixels = torch.from_numpy(batch)
        graph = self._graphs.get(len(pixels)) or self._new_graph(pixels)
        if graph:
            return graph(pixels)
        try:
            return self._forward(moved(pixels, self._device))
        except torch.OutOfMemoryError:
            # What the graphs keep may be what the next, smaller batch needs.
            self._graphs.clear()
            raise

    def _new_graph(self, pixels: torch.Tensor) -> "_Graph | None":
        previous, self._previous = self._previous, len(pixels)
        if self._refused or previous != len(pixels):
            return None
        if len(self._graphs) == KEPT:
            self._graphs.pop(next(iter(self._graphs)))
        try:
            self._graphs[previous] = _Graph(self._forward, pixels.shape, self._device, self._record)
        # Any exception: models and drivers refuse in many ways, and the model reads the same without a graph.
        # A device that has failed fails at the next forward too.
        except Exception as error:
            self._refused = True
            structlog.get_logger().warning(
                "cuda_graph_not_used",
                error=f"{type(error).__name__}: {str(error)[:SHOWN]}",
                advice="the model runs without; TRACE_OCR_CUDA_GRAPHS=false asks for none",
            )
            return None
        return self._graphs[previous]


class _Graph:
    """A recorded forward of batches of one size."""

    def __init__(self, forward: Forward, shape: torch.Size, device: torch.device, record: Record) -> None:
        self._input = torch.zeros(shape, dtype=torch.uint8, device=device)
        self._replay, self._outputs = record(forward, self._input)

    def __call__(self, pixels: torch.Tensor) -> Outputs:
        self._input.copy_(_pinned(pixels, self._input.device), non_blocking=True)
        self._replay()
        # The next replay writes into the same memory, while another thread decodes these.
        return tuple(output.clone() for output in self._outputs)


def moved(pixels: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Return samples on a device: bytes are a quarter of the floats that they become there."""
    return _pinned(pixels, device).to(device, non_blocking=True)


def _pinned(pixels: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Return samples in pinned memory, from which a copy to a GPU overlaps with the GPU's work."""
    return pixels.pin_memory() if device.type == "cuda" else pixels


def recorded(forward: Forward, pixels: torch.Tensor) -> tuple[Callable[[], None], Outputs]:
    """Record a forward of fixed samples on a GPU; return what replays it, and its fixed outputs."""
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream())
    # cuDNN's and cuBLAS' handles belong to a thread, and can't be made while a forward is recorded.
    with torch.cuda.stream(stream):
        forward(pixels)
    graph = torch.cuda.CUDAGraph()
    # Other threads go on using the device, with other models.
    with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
        outputs = forward(pixels)
    return graph.replay, outputs
