"""Whose batch is next, where several chunks share a processor's cores."""

import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from worker.kernels.pixels import Pixels
from worker.models.device_model import DeviceModel
from worker.models.runtimes import onnx
from worker.models.runtimes.base import Cut, ModelInput
from worker.models.runtimes.onnx import OnnxRuntime

SHAPE = (3, 2, 4)
TAKES = ModelInput(SHAPE, (0.0, 0.0, 0.0), (1 / 255, 1 / 255, 1 / 255))
SECONDS = 10
"""How long a part waits for another one; it never needs to, unless the test fails."""


class Plain(DeviceModel[int]):
    """Reads the level of each sample."""

    sample, parameter = "crop", "recognition_model"

    def _decoded(self, output: Any) -> list[int]:
        return [round(float(sample.flat[0])) for sample in output]


class Session:
    """Gives back what it is given. A part may end only once another one has begun.

    Args:
        after: level of a part -> that of the one that it waits for
    """

    def __init__(self, after: dict[int, int]) -> None:
        self._after = after
        self._begun = {level: threading.Event() for level in range(10)}

    def run(self, _: None, inputs: dict[str, Any]) -> list[Any]:
        level = round(float(inputs["input"].flat[0]))
        self._begun[level].set()
        if level in self._after and not self._begun[self._after[level]].wait(SECONDS):
            raise RuntimeError(f"{self._after[level]} has not begun beside {level}")
        return [inputs["input"]]


def batch_of(*levels: int) -> Pixels:
    return np.stack([np.full(SHAPE, level, np.uint8) for level in levels])


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Plain:
    """A model on two cores, a sample a part; the part of level 3 ends once that of level 4 has begun."""
    session = Session(after={3: 4})
    module = SimpleNamespace(
        SessionOptions=lambda: SimpleNamespace(add_session_config_entry=lambda *_: None),
        InferenceSession=lambda *_: session,
    )
    monkeypatch.setattr(onnx, "imported", lambda: module)
    monkeypatch.setattr(onnx, "computing_cores", lambda: 2)
    return Plain(SHAPE, "cpu", {}, OnnxRuntime(b"", TAKES, Cut(part=1, lanes=2)))


def test_a_batch_begins_while_the_last_part_of_another_one_runs(model: Plain) -> None:
    with ThreadPoolExecutor(2) as chunks:
        read = [chunks.submit(model.read, batch) for batch in (batch_of(1, 2, 3), batch_of(4, 5, 6))]

    assert [future.result() for future in read] == [[1, 2, 3], [4, 5, 6]]
