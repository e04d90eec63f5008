"""The devices that a worker would start a process for, as JSON: `trace-ocr doctor` asks for them."""

import os
import sys

import msgspec

from contract.cores import available_cores
from contract.counting import counted
from contract.errors import TraceOcrError
from contract.logs import configure_logging
from contract.printable import printable
from contract.settings import load_settings
from worker.app.launcher import devices_of
from worker.monitoring.device import Device, DeviceUse

CPU = "cpu"


def described(name: str) -> str:
    """Return a device in words: its number, its model, and its memory."""
    if name == CPU:
        return f"CPU with {counted(available_cores(), 'core')}"
    device = Device(name)
    use = device.use()
    return f"GPU {name}: {device.label()}{_memory(use) if use else ', which NVML does not know'}"


def _memory(use: DeviceUse) -> str:
    return f", {use.memory_used / 2**30:.1f} of {use.memory_total / 2**30:.1f} GiB in use"


def main() -> None:
    """Print the devices; exit with the status of an error."""
    try:
        settings = load_settings()
        configure_logging(settings)
        found = [described(name) for name in devices_of(settings.devices, os.environ)]
    except TraceOcrError as error:
        sys.stderr.write(f"{printable(str(error))}\n")
        sys.exit(error.exit_code)
    sys.stdout.write(msgspec.json.encode({"devices": found}).decode() + "\n")


if __name__ == "__main__":
    main()
