"""Batches in as many turns as the device's memory asks for; what its faults mean."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from contract.errors import UnfitWorkerError
from worker.kernels.pixels import Pixels
from worker.models.memory import Turns

CPU = "cpu"


class FakeDevice:
    """Gives back what it is given, as long as it holds that; `sizes` lists the turns that it was given."""

    def __init__(self, holds: int) -> None:
        self.holds = holds
        self.sizes: list[int] = []

    def __call__(self, turn: Pixels) -> list[int]:
        self.sizes.append(len(turn))
        if len(turn) > self.holds:
            raise torch.OutOfMemoryError("tried to allocate 2.00 GiB")
        return [int(value) for value in turn]


@pytest.fixture
def turns() -> Turns:
    return Turns(CPU, "page", "detection_model")


def batch_of(size: int) -> Pixels:
    return np.arange(size, dtype=np.uint8)


def fails_with(error: Exception) -> Callable[[Pixels], list[int]]:
    def forward(_: Pixels) -> list[int]:
        raise error

    return forward


class TestMemory:
    @pytest.mark.parametrize("size", [1, 7, 8])
    def test_a_batch_that_fits_is_one_turn(self, size: int, turns: Turns) -> None:
        device = FakeDevice(holds=8)

        assert turns.run(batch_of(size), device) == list(range(size))
        assert (device.sizes, turns.fitting) == ([size], None)

    def test_one_that_does_not_is_halved_until_it_does_and_its_order_is_kept(self, turns: Turns) -> None:
        device = FakeDevice(holds=3)

        assert turns.run(batch_of(9), device) == list(range(9))
        assert device.sizes == [9, 4, 2, 2, 2, 2, 1]

    def test_what_fits_is_remembered_for_the_next_batch(self, turns: Turns) -> None:
        device = FakeDevice(holds=4)
        turns.run(batch_of(8), device)
        device.sizes.clear()

        turns.run(batch_of(8), device)

        assert (device.sizes, turns.fitting) == ([4, 4], 4)

    def test_memory_that_grows_short_later_is_noted_too(self, turns: Turns) -> None:
        device = FakeDevice(holds=4)
        turns.run(batch_of(8), device)

        device.holds = 1

        assert turns.run(batch_of(3), device) == [0, 1, 2]
        assert turns.fitting == 1

    def test_what_another_thread_found_out_in_the_meantime_is_not_forgotten(self, turns: Turns) -> None:
        # given a turn that fails while another chunk's thread learns that still less fits
        device = FakeDevice(holds=2)

        def forward(turn: Pixels) -> list[int]:
            if len(turn) == 8:
                turns.fitting = 2
            return device(turn)

        assert turns.run(batch_of(8), forward) == list(range(8))
        assert (device.sizes, turns.fitting) == ([8, 2, 2, 2, 2], 2)

    def test_a_device_that_does_not_hold_one_sample_makes_the_worker_unfit(self, turns: Turns) -> None:
        with pytest.raises(
            UnfitWorkerError,
            match=r"memory of cpu does not hold one page .*2\.00 GiB.*use a smaller detection_model",
        ):
            turns.run(batch_of(4), FakeDevice(holds=0))


class TestFaults:
    def test_a_device_that_is_lost_makes_the_worker_unfit(self, turns: Turns) -> None:
        lost = torch.AcceleratorError("CUDA error: unspecified launch failure")

        with pytest.raises(UnfitWorkerError, match=r"device cpu has failed and needs a new process .*launch"):
            turns.run(batch_of(2), fails_with(lost))

    def test_a_model_that_fails_on_a_batch_is_no_fault_of_the_device(self, turns: Turns) -> None:
        with pytest.raises(RuntimeError, match="shape mismatch"):
            turns.run(batch_of(2), fails_with(RuntimeError("shape mismatch")))

        assert turns.fitting is None

    def test_no_samples_are_no_turn(self, turns: Turns) -> None:
        device = FakeDevice(holds=8)

        assert turns.run(batch_of(0), device) == []
        assert device.sizes == []
