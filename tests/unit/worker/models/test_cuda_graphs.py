"""CUDA graphs: for sizes that come again, the same logits, and never a reason to fail.

The device is the CPU, and what is recorded runs again as Python; `python -m benchmarks gpu` uses a real one.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from structlog.testing import capture_logs

from worker.models.runtimes.base import RuntimeOptions
from worker.models.runtimes.cuda_graphs import KEPT, CudaGraphs, Forward, Outputs
from worker.models.runtimes.torch import TorchRuntime

CPU = torch.device("cpu")


class FakeRecorder:
    """Records as a GPU does: a replay reads the input's memory and writes over its last output."""

    def __init__(self, fault: Exception | None = None) -> None:
        self.sizes: list[int] = []
        self.replays = 0
        self._fault = fault

    def __call__(self, forward: Forward, pixels: torch.Tensor) -> tuple[Callable[[], None], Outputs]:
        self.sizes.append(len(pixels))
        if self._fault:
            raise self._fault
        outputs = forward(pixels)

        def replay() -> None:
            self.replays += 1
            for output, new in zip(outputs, forward(pixels), strict=True):
                output.copy_(new)

        return replay, outputs


def sums(pixels: torch.Tensor) -> Outputs:
    """A forward: one logit for each sample, and its opposite."""
    values = pixels.float().sum(dim=(1, 2, 3))
    return values, -values


def samples(size: int, value: int = 1) -> npt.NDArray[np.uint8]:
    return np.full((size, 3, 2, 2), value, np.uint8)


class TestWhichSizes:
    def test_full_batches_are_recorded_and_the_last_of_a_chunk_is_not(self) -> None:
        recorder = FakeRecorder()
        graphs = CudaGraphs(sums, CPU, recorder)

        for size in (8, 8, 8, 3, 8, 8, 5):
            graphs(samples(size))

        assert recorder.sizes == [8]
        assert recorder.replays == 4

    def test_a_model_keeps_few_graphs_and_forgets_the_oldest(self) -> None:
        recorder = FakeRecorder()
        graphs = CudaGraphs(sums, CPU, recorder)

        for size in (*range(1, KEPT + 2), 1):
            graphs(samples(size))
            graphs(samples(size))

        assert recorder.sizes == [*range(1, KEPT + 2), 1]


class TestWhatIsRead:
    def test_every_batch_has_its_own_logits_though_replays_share_memory(self) -> None:
        graphs = CudaGraphs(sums, CPU, FakeRecorder())

        made = [graphs(samples(4, value)) for value in range(5)]

        assert [logits.tolist() for logits, _ in made] == [[12.0 * value] * 4 for value in range(5)]
        assert [read.tolist() for _, read in made] == [[-12.0 * value] * 4 for value in range(5)]

    def test_a_forward_that_cannot_be_recorded_reads_without_and_is_not_tried_again(self) -> None:
        recorder = FakeRecorder(RuntimeError("operation not permitted when stream is capturing"))
        graphs = CudaGraphs(sums, CPU, recorder)

        with capture_logs() as logs:
            made = [graphs(samples(4))[0].tolist() for _ in range(5)]

        assert made == [[12.0] * 4] * 5
        assert recorder.sizes == [4]
        assert [log["event"] for log in logs] == ["cuda_graph_not_used"]

    def test_memory_of_graphs_is_given_back_when_a_batch_does_not_fit(self) -> None:
        # given a device that holds no more than 8 samples
        recorder = FakeRecorder()

        def forward(pixels: torch.Tensor) -> Outputs:
            if len(pixels) > 8:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return sums(pixels)

        graphs = CudaGraphs(forward, CPU, recorder)
        graphs(samples(8))
        graphs(samples(8))

        with pytest.raises(torch.OutOfMemoryError):
            graphs(samples(9))

        graphs(samples(8))
        graphs(samples(8))
        assert recorder.sizes == [8, 8]


class TestWhoUsesThem:
    @pytest.fixture
    def model(self) -> Any:
        class Model(torch.nn.Module):
            cfg = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}  # noqa: RUF012

        return Model()

    @pytest.mark.parametrize(
        ("options", "logits", "used"),
        [
            (RuntimeOptions("torch"), True, True),
            (RuntimeOptions("torch", cuda_graphs=False), True, False),
            (RuntimeOptions("torch", torch_compile=True), True, False),
            (RuntimeOptions("torch"), False, False),
        ],
    )
    def test_models_on_a_gpu_that_give_logits(
        self, model: Any, options: RuntimeOptions, logits: bool, used: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # given a GPU that only takes a model
        monkeypatch.setattr(model, "to", lambda *_, **__: model)
        monkeypatch.setattr("worker.models.runtimes.torch.GpuNormaliser", lambda *_: None)

        runtime = TorchRuntime(model, "cuda:0", options, logits=logits)

        assert bool(runtime._graphs) is used

    def test_none_on_a_cpu(self, model: Any) -> None:
        assert TorchRuntime(model, "cpu", RuntimeOptions("torch"), logits=True)._graphs is None
