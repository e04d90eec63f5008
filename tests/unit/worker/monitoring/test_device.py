"""The device: what NVML tells, and that its absence costs nothing but the figures."""

from types import SimpleNamespace
from typing import Any

import pynvml
import pytest
from structlog.testing import capture_logs

from worker.monitoring import device as module
from worker.monitoring.device import Device, DeviceUse


class FakeNvml:
    """A driver with two GPUs, one of which is a part of one; `asked` lists the calls."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.names = {0: "NVIDIA H100", 1: "NVIDIA A2", "GPU-8f": "NVIDIA L4", "MIG-1": "NVIDIA H100 MIG"}
        self.NVMLError = pynvml.NVMLError

    def nvmlInit(self) -> None:  # noqa: N802 - NVML's own names
        self.asked.append("init")

    def nvmlDeviceGetHandleByIndex(self, index: int) -> Any:  # noqa: N802
        if index not in self.names:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_INVALID_ARGUMENT)
        return index

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> Any:  # noqa: N802
        return uuid

    def nvmlDeviceGetName(self, handle: Any) -> str:  # noqa: N802
        return self.names[handle]

    def nvmlDeviceGetMemoryInfo(self, handle: Any) -> Any:  # noqa: N802
        return SimpleNamespace(used=10, total=80)

    def nvmlDeviceGetUtilizationRates(self, handle: Any) -> Any:  # noqa: N802
        if str(handle).startswith("MIG"):
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
        return SimpleNamespace(gpu=25)


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch) -> FakeNvml:
    fake = FakeNvml()
    monkeypatch.setattr(module, "pynvml", fake)
    return fake


@pytest.mark.parametrize(
    ("name", "label", "utilisation"),
    [
        ("0", "NVIDIA H100", 0.25),
        ("1", "NVIDIA A2", 0.25),
        ("GPU-8f", "NVIDIA L4", 0.25),
        ("MIG-1", "NVIDIA H100 MIG", None),
    ],
)
def test_a_gpu_is_found_by_its_number_or_its_uuid(
    name: str, label: str, utilisation: float | None, nvml: FakeNvml
) -> None:
    device = Device(name)

    assert device.label() == label
    assert device.use() == DeviceUse(10, 80, utilisation)
    assert nvml.asked == ["init"]


def test_the_cpu_has_a_name_and_nothing_to_tell_and_the_driver_is_not_asked(nvml: FakeNvml) -> None:
    device = Device("cpu")

    assert (device.label(), device.use()) == ("cpu", None)
    assert nvml.asked == []


def test_a_gpu_that_the_driver_does_not_know_is_told_of_once(nvml: FakeNvml) -> None:
    device = Device("5")

    with capture_logs() as logs:
        answers = device.label(), device.use(), device.use()

    assert answers == ("gpu5", None, None)
    assert [entry["event"] for entry in logs] == ["device_not_measured"]


def test_without_a_driver_there_is_nothing_to_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)

    monkeypatch.setattr(pynvml, "nvmlInit", refuse)

    assert (Device("0").label(), Device("0").use()) == ("gpu0", None)
