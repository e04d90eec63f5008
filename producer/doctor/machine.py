"""This machine: versions of what is installed, and the devices that a worker would use."""

import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Iterator

import msgspec

from contract.child_processes import python_module
from contract.lines import UNREADABLE
from contract.settings import Settings, environment_of
from producer.doctor.finding import Finding, bad, good, skipped

PACKAGES = (
    "trace-ocr-batch",
    "celery",
    "kombu",
    "redis",
    "python-doctr",
    "torch",
    "onnxruntime",
    "numpy",
    "pillow",
    "pypdfium2",
)
"""Packages whose versions decide what is read, or how work is delivered."""

DEVICE_SECONDS = 60.0
"""Longest wait in seconds for the list of devices: nvidia-smi takes some seconds where drivers load late."""

WORKERS_PACKAGE = "torch"

SHOWN = 500
"""Characters of an error that are shown, from its end."""


class Devices(msgspec.Struct, frozen=True):
    """What `worker.app.devices` prints: each device that a worker would start a process for, in words."""

    devices: tuple[str, ...]


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that are installed."""
    found = {"python": platform.python_version(), "system": platform.platform()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def check_devices(settings: Settings) -> Iterator[Finding]:
    """Yield which devices a worker on this machine would use; asked in a process of its own."""
    if WORKERS_PACKAGE not in versions():
        yield skipped("devices", "the extra `worker` is not installed here: no worker can run")
        return
    environment = {**os.environ, **environment_of(settings)}
    try:
        done = subprocess.run(
            python_module("worker.app.devices"),
            env=environment,
            capture_output=True,
            text=True,
            timeout=DEVICE_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        yield bad("devices", f"they cannot be listed ({type(error).__name__})", "look at nvidia-smi")
        return
    try:
        found = msgspec.json.decode(done.stdout, type=Devices)
    except UNREADABLE:
        yield bad("devices", done.stderr.strip()[-SHOWN:], "correct TRACE_OCR_DEVICES, or the driver")
        return
    for device in found.devices:
        yield good("devices", device)
