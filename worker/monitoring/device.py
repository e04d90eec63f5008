"""The device: NVML's figures for the GPU that this process is pinned to; none on the CPU."""

import threading
from dataclasses import dataclass
from typing import Any

import pynvml
import structlog

NVML_ERRORS = (pynvml.NVMLError, OSError, ValueError, AttributeError)
"""What pynvml raises if the driver is missing, too old, or does not know the device."""


@dataclass(frozen=True, slots=True)
class DeviceUse:
    """A GPU's use: memory in bytes, over all its processes; `utilisation` in 0..1, None if unknown."""

    memory_used: int
    memory_total: int
    utilisation: float | None


class Device:
    """One device by its number in nvidia-smi, its UUID, or 'cpu'. No method raises.

    Args:
        name: the worker's `devices` setting, which its launcher has set to one device
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._handle: Any = None
        self._logged = False
        self._lock = threading.Lock()

    def label(self) -> str:
        """Return the device's name: 'cpu', or the GPU's model if NVML knows it."""
        if self._name == "cpu":
            return "cpu"
        with self._lock:
            try:
                return str(pynvml.nvmlDeviceGetName(self._open()))
            except NVML_ERRORS as error:
                self._tell(error)
                return f"gpu{self._name}"

    def use(self) -> DeviceUse | None:
        """Return how much of the device is in use, or None if unknown."""
        if self._name == "cpu":
            return None
        with self._lock:
            try:
                handle = self._open()
                memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
            except NVML_ERRORS as error:
                self._tell(error)
                return None
            return DeviceUse(int(memory.used), int(memory.total), _utilisation(handle))

    def _open(self) -> Any:
        if self._handle is None:
            pynvml.nvmlInit()
            by_number = self._name.isdigit()
            self._handle = (
                pynvml.nvmlDeviceGetHandleByIndex(int(self._name))
                if by_number
                else pynvml.nvmlDeviceGetHandleByUUID(self._name)
            )
        return self._handle

    def _tell(self, error: Exception) -> None:
        """Log only the first failure; a worker works the same without these figures."""
        if not self._logged:
            self._logged = True
            structlog.get_logger().warning("device_not_measured", device=self._name, error=str(error))


def _utilisation(handle: Any) -> float | None:
    """Return the fraction of the last sampling period in which a kernel ran; MIG devices do not report it."""
    try:
        return float(pynvml.nvmlDeviceGetUtilizationRates(handle).gpu) / 100
    except NVML_ERRORS:
        return None
