"""The processes and buckets that integration tests work with."""

import contextlib
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

TRACE_OCR = [sys.executable, "-m", "producer.cli.main"]
STOP_SECONDS = 30
"""Seconds that a process has to end before it is hurried."""

RUN_SECONDS = 200
"""Seconds that a command has to end by itself: less than a test has, so that it can say where it hangs."""

ABORT_SECONDS = 5
"""Seconds that an aborted process has to write its stacks."""


@dataclass(frozen=True)
class Bucket:
    """An empty bucket of the test's own, and the environment that reaches it."""

    name: str
    client: Any
    environment: dict[str, str]

    def upload(self, folder: Path, prefix: str) -> None:
        """Put every file below a folder under the prefix."""
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            key = prefix + path.relative_to(folder).as_posix()
            self.client.put_object(Bucket=self.name, Key=key, Body=path.read_bytes())

    def read(self, key: str) -> bytes:
        """Return an object's bytes."""
        answer = self.client.get_object(Bucket=self.name, Key=key)
        return bytes(answer["Body"].read())


@dataclass
class Process:
    """A long-running `trace-ocr` command; its log is read as it comes, so that tests wait for events."""

    popen: "subprocess.Popen[str]"
    lines: list[str] = field(default_factory=list)
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def __post_init__(self) -> None:
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.popen.stderr
        for line in self.popen.stderr:
            with self._changed:
                self.lines.append(line)
                self._changed.notify_all()

    def wait_for(self, text: str, count: int = 1, timeout: float = 120) -> list[str]:
        """Wait until `count` lines of the log hold the text; return them."""

        def found() -> list[str]:
            return [line for line in self.lines if text in line]

        with self._changed:
            arrived = self._changed.wait_for(lambda: len(found()) >= count, timeout)
        assert arrived, f"no {count} lines with {text!r} in the log:\n{''.join(self.lines)}"
        return found()

    def stop(self) -> int:
        """Send SIGTERM and return the exit status; a second one hurries."""
        for _ in range(2):
            self.popen.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                return self.popen.wait(STOP_SECONDS)
        self.popen.kill()
        return self.popen.wait()


def run_to_end(
    command: list[str], environment: dict[str, str], folder: Path, stdin: str | None
) -> "subprocess.CompletedProcess[str]":
    """Run a command to its end; fail with the stacks of all its processes if it does not come to one."""
    process = subprocess.Popen(
        command,
        env={**environment, "PYTHONFAULTHANDLER": "1"},
        cwd=folder,
        stdin=subprocess.PIPE if stdin is not None else None,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        stdout, stderr = process.communicate(stdin, RUN_SECONDS)
    except subprocess.TimeoutExpired:
        _abort(process.pid)
        stderr = process.communicate()[1]
        pytest.fail(f"{' '.join(command)} did not end within {RUN_SECONDS} seconds:\n{stderr}")
    return subprocess.CompletedProcess(command, process.returncode, stdout, stderr)


def _abort(pid: int) -> None:
    """Have a process, and all below it, write the stacks of their threads and end."""
    for one in list(_family(pid)):
        with contextlib.suppress(ProcessLookupError):
            handle = os.pidfd_open(one)
            signal.pidfd_send_signal(handle, signal.SIGABRT)
            # Two that wrote at the same time could not be read.
            select.select([handle], [], [], ABORT_SECONDS)
            os.close(handle)


def _family(pid: int) -> Iterator[int]:
    yield pid
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in path.read_text().split():
                yield from _family(int(child))


Start = Callable[..., Process]
Run = Callable[..., "subprocess.CompletedProcess[str]"]
