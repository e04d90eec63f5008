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
