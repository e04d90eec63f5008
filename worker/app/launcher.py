"""`trace-ocr worker`: one process per device, pinned before torch is imported, restarted when it dies.

Imports only what is needed to start the processes; the rest while they import torch.
"""

import gc
import os
import queue
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any

from contract.child_processes import die_with_parent, python_module
from contract.cores import cores_of_quota
from contract.errors import SettingsError, TraceOcrError, WorkerLostError
from contract.stop_signals import stop_signals
from contract.telemetry import SWITCHES
from worker.monitoring.exits import STALLED_STATUS

DEVICES = "TRACE_OCR_DEVICES"
"""The variable of the setting `devices`; the commands that start the launcher always set it."""

POLL_SECONDS = 0.2
"""Seconds between looks at the children."""

FIRST_BACKOFF_SECONDS, LAST_BACKOFF_SECONDS = 1.0, 15.0
"""Seconds to wait before a restart. Doubles with every early death, so that a broken machine is not kept busy
with restarts."""

STEADY_SECONDS = 60.0
"""A process that ran this long was healthy: its next death restarts the backoff from the first step."""

MAX_FAILED_STARTS = 5
"""Consecutive early exits by the process itself after which the launcher gives up: some 30 seconds of
restarts. A process that a signal or its watchdog killed has met a bad image, not a bad installation: it is
always restarted."""

MALLOC = {"MALLOC_MMAP_THRESHOLD_": str(32 << 20), "MALLOC_TRIM_THRESHOLD_": str(256 << 20)}
"""Freed bytes that glibc's allocator keeps. By default it returns a batch's memory at once, and the kernel
clears it again for the next batch: 20 us of processor time per crop. Other allocators ignore these
variables."""


@dataclass
class Child:
    """One device's worker process, and its restart counters."""

    device: str
    process: subprocess.Popen[bytes]
    started: float
    early_deaths: int = 0
    failed_starts: int = 0
    restart_at: float | None = field(default=None)


def devices_of(setting: str, environment: Mapping[str, str]) -> list[str]:
    """Return the devices to start a process for: ['cpu'], or CUDA device numbers.

    `auto` takes every visible GPU, or the CPU if there is none.

    Raises:
        SettingsError: the setting is not one of these
    """
    if setting == "cpu":
        return ["cpu"]
    if setting == "auto":
        return _visible_gpus(environment) or ["cpu"]
    devices = [part.strip() for part in setting.split(",")]
    if not all(device.isdigit() for device in devices) or len(set(devices)) < len(devices):
        raise SettingsError(
            f"devices ({DEVICES}): '{setting}' is neither 'cpu', 'auto' nor a list such as 0,1"
        )
    return devices


def child_environment(device: str, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment that pins a process to its device."""
    visible = "" if device == "cpu" else device
    cores = cores_of_quota()
    return {
        **MALLOC,
        # torch and ONNX Runtime would start a thread for each core of the machine.
        **({"OMP_NUM_THREADS": str(cores)} if cores else {}),
        **SWITCHES,
        **environment,
        # CUDA's default order puts the fastest GPU first; this is the order of nvidia-smi and NVML.
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "CUDA_VISIBLE_DEVICES": visible,
        DEVICES: device,
    }


def supervise(devices: list[str], received: "queue.SimpleQueue[int]") -> None:
    """Keep one process per device running until a signal is received; then end all of them.

    The processes get SIGTERM and may take their time; at the second signal they get SIGKILL.

    Raises:
        WorkerLostError: a process does not stay up
    """
    children = [_start(device) for device in devices]
    try:
        _configure_logging()
        _sweep()
        while not _is_received(received):
            for child in children:
                _look_after(child)
    finally:
        _end([child.process for child in children], received)


def main() -> None:
    """Run the launcher until SIGTERM or SIGINT; a second signal kills the processes at once."""
    try:
        devices = devices_of(os.environ.get(DEVICES, "auto"), os.environ)
        supervise(devices, stop_signals())
        # Python looks for garbage once more at its end, through everything that was imported.
        gc.freeze()
    except TraceOcrError as error:
        _logger().error("launcher_failed", error=str(error))
        sys.exit(error.exit_code)


def _configure_logging() -> None:
    from contract.logs import configure_logging
    from contract.settings import load_settings

    configure_logging(load_settings())


def _sweep() -> None:
    from contract.scratch import sweep_scratch

    sweep_scratch()


def _logger() -> Any:
    import structlog

    return structlog.get_logger()


def _start(device: str) -> Child:
    process = subprocess.Popen(
        python_module("worker"),
        env=child_environment(device, os.environ),
        stdin=subprocess.DEVNULL,
        # A terminal's Ctrl-C goes to the whole process group: only the launcher handles it, with SIGTERM.
        process_group=0,
        preexec_fn=die_with_parent,
    )
    return Child(device, process, time.monotonic())


def _end(processes: list[subprocess.Popen[bytes]], received: "queue.SimpleQueue[int]") -> None:
    for process in processes:
        process.terminate()
    while any(process.poll() is None for process in processes):
        if _is_received(received):
            for process in processes:
                process.kill()


def _is_received(received: "queue.SimpleQueue[int]") -> bool:
    """Wait up to POLL_SECONDS for a signal."""
    try:
        received.get(timeout=POLL_SECONDS)
    except queue.Empty:
        return False
    return True


def _look_after(child: Child) -> None:
    """Record a death and schedule the restart, or restart the process if the restart is due."""
    now = time.monotonic()
    if child.restart_at is None:
        if child.process.poll() is None:
            return
        _count_death(child, early=now - child.started < STEADY_SECONDS)
        wait = min(LAST_BACKOFF_SECONDS, FIRST_BACKOFF_SECONDS * 2 ** (child.early_deaths - 1))
        child.restart_at = now + wait
        status = child.process.returncode
        cause = {"cause": "killed: out of memory?"} if status == -signal.SIGKILL else {}
        _logger().warning("worker_died", device=child.device, status=status, restart_in_seconds=wait, **cause)
    elif now >= child.restart_at:
        fresh = _start(child.device)
        child.process, child.started, child.restart_at = fresh.process, fresh.started, None


def _count_death(child: Child, *, early: bool) -> None:
    status = child.process.returncode
    by_itself = status > 0 and status != STALLED_STATUS
    child.early_deaths = child.early_deaths + 1 if early else 1
    child.failed_starts = child.failed_starts + 1 if early and by_itself else 0
    if child.failed_starts > MAX_FAILED_STARTS:
        raise WorkerLostError(
            f"the worker on {child.device} failed {child.failed_starts} times in a row, last with status "
            f"{status}: its log above says why"
        )


def _visible_gpus(environment: Mapping[str, str]) -> list[str]:
    if "CUDA_VISIBLE_DEVICES" in environment:
        # CUDA stops at the first entry that is not a device; usually -1.
        named = (part.strip() for part in environment["CUDA_VISIBLE_DEVICES"].split(","))
        return list(takewhile(lambda part: part and not part.startswith("-"), named))
    command = shutil.which("nvidia-smi")
    if command is None:
        return []
    answer = subprocess.run(
        [command, "--query-gpu=index", "--format=csv,noheader"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    return answer.stdout.split() if answer.returncode == 0 else []


if __name__ == "__main__":
    main()
