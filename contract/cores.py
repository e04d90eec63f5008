"""The cores that this process may use: fewer than the machine has within a container."""

import math
import os
from pathlib import Path

QUOTA = Path("/sys/fs/cgroup/cpu.max")
"""Of cgroup v2: microseconds that may be used in each period, or `max`, and the period."""

QUOTA_V1, PERIOD_V1 = (
    Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us"),
    Path("/sys/fs/cgroup/cpu/cpu.cfs_period_us"),
)
"""The same of cgroup v1; a quota of -1 is no limit."""

CPUS = Path("/sys/devices/system/cpu")
"""Linux's description of the processors, `cpu0` and so on."""


def available_cores() -> int:
    """Return the cores that the scheduler and the container's quota leave to this process, at least 1."""
    return cores_of_quota() or _scheduled()


def cores_of_quota() -> int | None:
    """Return the container's quota in whole cores, rounded up; None if it leaves all that there are."""
    quota = _quota()
    cores = max(1, math.ceil(quota)) if quota else None
    return cores if cores and cores < _scheduled() else None


def _scheduled() -> int:
    # os.process_cpu_count needs Python 3.13, and knows nothing of quotas.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _quota() -> float | None:
    """Return the container's limit in cores, or None if there is none."""
    try:
        parts = QUOTA.read_text().split() if QUOTA.exists() else [QUOTA_V1.read_text(), PERIOD_V1.read_text()]
        used, period = float(parts[0]), float(parts[1])
    # No limit, another system, or a file of another form.
    except (OSError, ValueError, IndexError):
        return None
    return used / period if used > 0 and period > 0 else None


def computing_cores() -> int:
    """Return the threads that torch computes with: OMP_NUM_THREADS, else one for each physical core."""
    named = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    if named.isdigit() and int(named):
        return int(named)
    if not hasattr(os, "sched_getaffinity"):
        return _scheduled()
    # Two threads of one core would share its arithmetic units.
    return len({_siblings(cpu) for cpu in os.sched_getaffinity(0)})


def _siblings(cpu: int) -> str:
    """Return what the hardware threads of a core have in common; of this one alone where it is unknown."""
    try:
        return (CPUS / f"cpu{cpu}/topology/thread_siblings_list").read_text()
    except OSError:
        return str(cpu)
