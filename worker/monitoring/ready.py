"""A file that is touched while the process serves, for health checks of containers."""

import contextlib
import os
import threading
from pathlib import Path

import structlog


class ReadyFile:
    """One file, named after the process; `deploy/docker/healthcheck.py` looks at its age.

    It is there from `begin` on: a process that takes chunks may still be loading its models.

    Args:
        folder: where the file lies; None for no file
    """

    def __init__(self, folder: str | None) -> None:
        self._path = Path(folder) / str(os.getpid()) if folder else None
        self._begun = threading.Event()

    def begin(self) -> None:
        """Let `touch` make the file. Thread-safe."""
        self._begun.set()

    def touch(self) -> None:
        """Say that the process serves now, if it has begun; a failure is only logged."""
        if self._path is None or not self._begun.is_set():
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._path.touch()
        except OSError as error:
            structlog.get_logger().warning("ready_file_not_touched", path=str(self._path), error=str(error))

    def remove(self) -> None:
        """Say that the process no longer serves."""
        if self._path:
            with contextlib.suppress(OSError):
                self._path.unlink(missing_ok=True)
