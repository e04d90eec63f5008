"""The launcher at work: tiny programs in the place of workers, with real signals."""

import contextlib
import os
import queue
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from contract.errors import WorkerLostError
from worker.app import launcher
from worker.app.launcher import MAX_FAILED_STARTS, supervise

SERVES = "echo $CUDA_VISIBLE_DEVICES $TRACE_OCR_DEVICES $$ >&3; exec sleep 600"
FINISHES_ITS_CHUNK = "trap 'echo finished >&3; exit 0' TERM; echo up >&3; while :; do sleep 600 & wait; done"
HEARS_NO_SIGTERM = "trap '' TERM; echo $$ >&3; while :; do sleep 600 & wait; done"
CANNOT_START = "echo started >&3; exit 3"


class Workers:
    """What the programs say, line by line."""

    def __init__(self, reading: int) -> None:
        self._lines = os.fdopen(reading)

    def hear(self) -> str:
        """Wait for the next line of any of them."""
        return self._lines.readline().strip()

    def close(self) -> None:
        self._lines.close()


@pytest.fixture
def run_instead(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Workers]]:
    """Let the launcher start this shell script in the place of the worker; all else stays as it is."""
    reading, writing = os.pipe()
    started: list[subprocess.Popen[bytes]] = []
    workers = Workers(reading)

    def arrange(script: str) -> Workers:
        def popen(command: list[str], **options: Any) -> "subprocess.Popen[bytes]":
            assert command == [sys.executable, "-P", "-m", "worker"]
            told = f"exec 3>/dev/fd/{writing}; {script}"
            started.append(subprocess.Popen(["/bin/sh", "-c", told], pass_fds=[writing], **options))
            return started[-1]

        fake = SimpleNamespace(Popen=popen, DEVNULL=subprocess.DEVNULL)
        monkeypatch.setattr(launcher, "subprocess", fake)
        monkeypatch.setattr(launcher, "POLL_SECONDS", 0.01)
        monkeypatch.setattr(launcher, "FIRST_BACKOFF_SECONDS", 0.0)
        return workers

    yield arrange
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    os.close(writing)
    workers.close()


class Running:
    """A launcher in another thread."""

    def __init__(self, threads: ThreadPoolExecutor, devices: list[str]) -> None:
        self._received: queue.SimpleQueue[int] = queue.SimpleQueue()
        self.ended: Future[None] = threads.submit(supervise, devices, self._received)

    def receive(self, *signals: int) -> None:
        for number in signals:
            self._received.put(number)


@pytest.fixture
def launch() -> Iterator[Callable[..., Running]]:
    running = []
    with ThreadPoolExecutor(1) as threads:

        def start(*devices: str) -> Running:
            running.append(Running(threads, list(devices)))
            return running[-1]

        yield start
        for one in running:
            one.receive(signal.SIGTERM, signal.SIGINT)


def is_alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def test_each_device_has_a_process_that_sees_it_alone(
    run_instead: Callable[..., Workers], launch: Callable[..., Running]
) -> None:
    workers = run_instead(SERVES)

    launch("0", "3")

    assert sorted(workers.hear().rsplit(" ", 1)[0] for _ in range(2)) == ["0 0", "3 3"]


def test_stopping_ends_every_process(
    run_instead: Callable[..., Workers], launch: Callable[..., Running]
) -> None:
    workers = run_instead(SERVES)
    running = launch("0", "1")
    pids = [int(workers.hear().rsplit(" ", 1)[1]) for _ in range(2)]

    running.receive(signal.SIGTERM)
    running.ended.result()

    assert [is_alive(pid) for pid in pids] == [False, False]


def test_a_stopping_process_has_the_time_it_needs(
    run_instead: Callable[..., Workers], launch: Callable[..., Running]
) -> None:
    workers = run_instead(FINISHES_ITS_CHUNK)
    running = launch("cpu")
    assert workers.hear() == "up"

    running.receive(signal.SIGTERM)

    assert workers.hear() == "finished"
    running.ended.result()


def test_a_process_that_does_not_end_is_killed_at_the_second_signal(
    run_instead: Callable[..., Workers], launch: Callable[..., Running]
) -> None:
    workers = run_instead(HEARS_NO_SIGTERM)
    running = launch("cpu")
    pid = int(workers.hear())
    running.receive(signal.SIGTERM)
    os.kill(pid, signal.SIGTERM)

    assert is_alive(pid)
    running.receive(signal.SIGINT)
    running.ended.result()

    assert not is_alive(pid)


@pytest.mark.parametrize("fatal", [signal.SIGKILL, signal.SIGSEGV])
def test_a_process_that_dies_is_replaced_on_its_device(
    fatal: int, run_instead: Callable[..., Workers], launch: Callable[..., Running]
) -> None:
    workers = run_instead(SERVES)
    launch("3")
    first = workers.hear()

    os.kill(int(first.rsplit(" ", 1)[1]), fatal)
    second = workers.hear()

    assert second != first
    assert second.startswith("3 3 ")


def test_the_death_of_one_leaves_the_others_alone(
    run_instead: Callable[..., Workers], launch: Callable[..., Running]
) -> None:
    workers = run_instead(SERVES)
    launch("0", "1")
    pids = {(line := workers.hear()).split()[0]: int(line.split()[2]) for _ in range(2)}

    os.kill(pids["0"], signal.SIGKILL)

    assert workers.hear().startswith("0 0 ")
    assert is_alive(pids["1"])


def test_a_process_that_cannot_start_ends_the_launcher_after_a_few_tries(
    run_instead: Callable[..., Workers], launch: Callable[..., Running]
) -> None:
    workers = run_instead(CANNOT_START)

    with pytest.raises(WorkerLostError, match=r"worker on 0 failed 6 times in a row, last with status 3"):
        launch("0").ended.result()

    assert [workers.hear() for _ in range(MAX_FAILED_STARTS + 1)] == ["started"] * (MAX_FAILED_STARTS + 1)


def test_a_launcher_that_gives_up_ends_the_processes_that_are_well(
    run_instead: Callable[..., Workers], launch: Callable[..., Running]
) -> None:
    workers = run_instead(f'if [ "$TRACE_OCR_DEVICES" = 0 ]; then exit 3; fi; {SERVES}')

    running = launch("0", "1")
    pid = int(workers.hear().split()[2])
    with pytest.raises(WorkerLostError):
        running.ended.result()

    assert not is_alive(pid)
