"""Faults of the device: short memory costs speed; a device that is lost costs its process, and no item."""

import threading
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from contract.errors import UnfitWorkerError
from contract.lines import RecognitionLine
from contract.records import Item
from tests.unit.worker.conftest import read_all
from worker.images.decode import DecodedImage
from worker.kernels.pixels import Pixels
from worker.kinds.reading import Readers
from worker.kinds.recognition import RecognitionPipeline
from worker.models.doctr_recognition import recogniser_of
from worker.pipeline.run import ChunkRun

CPU = "cpu"


class FakeModel(nn.Module):
    """Reads a piece's brightness, at most `holds` pieces at once; `fault` is raised instead of reading.

    `sizes` lists how many pieces it was given.
    """

    vocab = "0123456789"
    cfg = {"input_shape": (3, 32, 128), "mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}  # noqa: RUF012

    def __init__(self, holds: int = 1_000) -> None:
        super().__init__()
        self.holds = holds
        self.fault: Exception | None = None
        self.sizes: list[int] = []

    def forward(self, batch: torch.Tensor, **_: Any) -> dict[str, list[tuple[str, float]]]:
        self.sizes.append(len(batch))
        if self.fault:
            raise self.fault
        if len(batch) > self.holds:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return {"preds": [(str(round(float(piece[0, 0, 0]) * 255)), 1.0) for piece in batch]}


def pixels_of(*levels: int) -> Pixels:
    """A batch with one piece of each level."""
    return np.stack([np.full((3, 32, 128), level, np.uint8) for level in levels])


def values(predictions: list[tuple[str, float]]) -> list[int]:
    return [int(value) for value, _ in predictions]


class TestMemoryIsShort:
    @pytest.mark.parametrize(("holds", "tried"), [(5, [10, 5, 5]), (4, [10, 5, 2, 2, 2, 2, 2]), (1, None)])
    def test_the_batch_is_halved_until_it_fits(self, holds: int, tried: list[int] | None) -> None:
        model = FakeModel(holds)
        recogniser = recogniser_of(model, CPU, {})

        read = recogniser.read(pixels_of(*range(10)))

        assert values(read) == list(range(10))
        assert tried is None or model.sizes == tried

    def test_the_size_that_fits_is_remembered(self) -> None:
        model = FakeModel(holds=4)
        recogniser = recogniser_of(model, CPU, {})
        recogniser.read(pixels_of(*range(8)))
        model.sizes.clear()

        recogniser.read(pixels_of(*range(8)))

        assert model.sizes == [4, 4]
        assert recogniser.fitting_batch_size == 4

    def test_nothing_is_noted_where_memory_suffices(self) -> None:
        recogniser = recogniser_of(FakeModel(), CPU, {})

        recogniser.read(pixels_of(1, 2))

        assert recogniser.fitting_batch_size is None

    def test_a_device_that_does_not_hold_one_crop_makes_the_worker_unfit(self) -> None:
        recogniser = recogniser_of(FakeModel(holds=0), CPU, {})

        with pytest.raises(UnfitWorkerError, match=r"memory of cpu does not hold one crop.*2\.00 GiB"):
            recogniser.read(pixels_of(1, 2, 3))


class TestTheDeviceIsLost:
    def test_the_worker_is_unfit(self) -> None:
        model = FakeModel()
        model.fault = torch.AcceleratorError("CUDA error: an illegal memory access was encountered")

        with pytest.raises(UnfitWorkerError, match=r"failed and needs a new process.*illegal memory access"):
            recogniser_of(model, CPU, {}).read(pixels_of(1))

    def test_a_model_that_fails_on_a_batch_is_no_fault_of_the_device(self) -> None:
        model = FakeModel()
        model.fault = RuntimeError("shape mismatch")

        with pytest.raises(RuntimeError, match="shape mismatch"):
            recogniser_of(model, CPU, {}).read(pixels_of(1))


def crops(model: FakeModel) -> RecognitionPipeline:
    return RecognitionPipeline(Readers.of(recogniser_of(model, CPU, {})), 4)


class TestAChunk:
    @pytest.fixture
    def run(self, pool: Any) -> ChunkRun:
        """A run over crops whose names are their levels."""
        return ChunkRun(
            fetch=lambda item: item.id.encode(),
            decode=lambda _, data: DecodedImage(np.full((32, 128, 3), int(data), np.uint8)),  # type: ignore[arg-type]
            attempt=1,
            pool=pool,
            window=8,
            stop=threading.Event(),
        )

    def test_short_memory_costs_no_item_and_is_noted(self, run: ChunkRun) -> None:
        names = [str(level) for level in range(10)]

        lines, timings = read_all([Item(name, name) for name in names], run, crops(FakeModel(holds=2)))

        assert [line.value for line in lines if isinstance(line, RecognitionLine)] == names
        assert timings.fitting_batch_size == 2

    def test_a_lost_device_ends_the_chunk_and_blames_no_item(self, run: ChunkRun) -> None:
        model = FakeModel()
        model.fault = torch.AcceleratorError("CUDA error: unspecified launch failure")

        with pytest.raises(UnfitWorkerError):
            read_all([Item("1", "1"), Item("2", "2")], run, crops(model))

        assert model.sizes == [2]
