"""Child processes: Python programs that run only installed code, and end when their parent does."""

import ctypes
import signal
import sys

PR_SET_PDEATHSIG = 1
"""From Linux's <sys/prctl.h>: the signal this process gets when the thread that started it ends."""


def python_module(module: str) -> list[str]:
    """Return the command that runs an installed module as a program.

    `-P` keeps the current folder off the import path: it may be a stranger's, and hold a `redis.py`.
    """
    return [sys.executable, "-P", "-m", module]


def die_with_parent() -> None:
    """Ask the kernel to end this process when its parent does; run in the child, before its program starts.

    Linux only; elsewhere a parent killed outright leaves its children to their own end.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
