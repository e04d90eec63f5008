"""The launcher: one pinned process per device, restarted with patience."""

import itertools
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest

from contract.errors import SettingsError, WorkerLostError
from contract.telemetry import SWITCHES
from worker.app import launcher
from worker.app.launcher import (
    FIRST_BACKOFF_SECONDS,
    LAST_BACKOFF_SECONDS,
    MALLOC,
    MAX_FAILED_STARTS,
    STEADY_SECONDS,
    Child,
    child_environment,
    devices_of,
)
from worker.monitoring.exits import STALLED_STATUS

KILLED, FAILED = -9, 3
"""Statuses of a process that a signal ended, and of one that could not start."""


class TestDevices:
    @pytest.mark.parametrize(
        ("setting", "devices"),
        [("cpu", ["cpu"]), ("0", ["0"]), ("0,1", ["0", "1"]), (" 3 , 1 ", ["3", "1"]), ("10", ["10"])],
    )
    def test_named_devices(self, setting: str, devices: list[str]) -> None:
        assert devices_of(setting, {}) == devices

    @pytest.mark.parametrize("setting", ["gpu", "", "0,", "0,0", "-1", "0,cpu", "0;1", "cuda:0"])
    def test_anything_else_is_refused_with_what_is_allowed(self, setting: str) -> None:
        with pytest.raises(SettingsError, match=r"TRACE_OCR_DEVICES.*'cpu', 'auto'"):
            devices_of(setting, {})

    @pytest.mark.parametrize(
        ("visible", "devices"),
        [("0,1", ["0", "1"]), ("2", ["2"]), ("", ["cpu"]), ("-1", ["cpu"]), ("GPU-8f6e", ["GPU-8f6e"])],
    )
    def test_auto_takes_what_the_environment_shows(self, visible: str, devices: list[str]) -> None:
        assert devices_of("auto", {"CUDA_VISIBLE_DEVICES": visible}) == devices

    @pytest.mark.parametrize(
        ("status", "output", "devices"),
        [(0, "0\n1\n", ["0", "1"]), (0, "", ["cpu"]), (9, "no driver", ["cpu"])],
    )
    def test_auto_asks_the_driver(
        self, monkeypatch: pytest.MonkeyPatch, status: int, output: str, devices: list[str]
    ) -> None:
        answer = subprocess.CompletedProcess([], status, stdout=output)
        monkeypatch.setattr(launcher.shutil, "which", lambda _: "/usr/bin/nvidia-smi")
        monkeypatch.setattr(launcher.subprocess, "run", lambda *_, **__: answer)

        assert devices_of("auto", {}) == devices

    def test_auto_without_a_driver_is_the_cpu(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(launcher.shutil, "which", lambda _: None)

        assert devices_of("auto", {}) == ["cpu"]


class TestPinning:
    @pytest.mark.parametrize(("device", "visible"), [("cpu", ""), ("0", "0"), ("3", "3")])
    def test_a_process_sees_its_device_alone(self, device: str, visible: str) -> None:
        given = {"CUDA_VISIBLE_DEVICES": "0,1,2,3", "TRACE_OCR_DEVICES": "auto", "HOME": "/root"}

        environment = child_environment(device, given)

        assert environment == {
            **MALLOC,
            **SWITCHES,
            "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
            "CUDA_VISIBLE_DEVICES": visible,
            "TRACE_OCR_DEVICES": device,
            "HOME": "/root",
        }

    def test_an_operators_own_allocator_settings_stand(self) -> None:
        given = {"MALLOC_TRIM_THRESHOLD_": "0"}

        assert child_environment("cpu", given)["MALLOC_TRIM_THRESHOLD_"] == "0"


@dataclass
class FakeProcess:
    """A process that has ended if it has a status."""

    returncode: int | None = None

    def poll(self) -> int | None:
        return self.returncode


class TestRestarts:
    """A clock that only the test advances."""

    @pytest.fixture
    def clock(self, monkeypatch: pytest.MonkeyPatch) -> Any:
        clock = SimpleNamespace(now=0.0)
        monkeypatch.setattr(launcher, "time", SimpleNamespace(monotonic=lambda: clock.now))
        return clock

    @pytest.fixture
    def started(self, clock: Any, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """The devices that processes were started for."""
        devices: list[str] = []

        def start(device: str) -> Child:
            devices.append(device)
            return Child(device, FakeProcess(), clock.now)  # type: ignore[arg-type]

        monkeypatch.setattr(launcher, "_start", start)
        return devices

    @pytest.fixture
    def look(self, clock: Any, started: list[str]) -> Callable[[Child], None]:
        return launcher._look_after

    @staticmethod
    def die_and_restart(
        child: Child, clock: Any, look: Callable[[Child], None], status: int = KILLED
    ) -> float:
        """Let the process die now; return how long its restart took."""
        child.process.returncode = status
        look(child)
        assert child.restart_at is not None
        wait = child.restart_at - clock.now
        clock.now = child.restart_at
        look(child)
        return float(wait)

    @pytest.fixture
    def child(self) -> Child:
        """A process that has just been started."""
        return Child("0", FakeProcess(), 0.0)  # type: ignore[arg-type]

    def test_a_living_process_is_left_alone(
        self, child: Child, look: Callable[[Child], None], started: list[str]
    ) -> None:
        look(child)

        assert started == []

    def test_a_dead_one_is_restarted_when_its_time_has_come(
        self, child: Child, look: Callable[[Child], None], started: list[str], clock: Any
    ) -> None:
        # given a death
        child.process.returncode = KILLED
        look(child)

        # when it is looked at too early, and then in time
        clock.now = FIRST_BACKOFF_SECONDS / 2
        look(child)
        early = list(started)
        clock.now = FIRST_BACKOFF_SECONDS
        look(child)

        # then
        assert (early, started) == ([], ["0"])
        assert (child.process.poll(), child.restart_at, child.started) == (None, None, clock.now)

    def test_the_wait_doubles_with_every_early_death_up_to_a_limit(
        self, child: Child, look: Callable[[Child], None], clock: Any
    ) -> None:
        waits = [self.die_and_restart(child, clock, look) for _ in range(8)]

        assert waits[0] == FIRST_BACKOFF_SECONDS
        assert waits[-1] == LAST_BACKOFF_SECONDS
        assert all(later == min(2 * wait, LAST_BACKOFF_SECONDS) for wait, later in itertools.pairwise(waits))

    def test_a_process_that_cannot_start_ends_the_launcher(
        self, child: Child, look: Callable[[Child], None], clock: Any
    ) -> None:
        for _ in range(MAX_FAILED_STARTS):
            self.die_and_restart(child, clock, look, FAILED)

        child.process.returncode = FAILED
        with pytest.raises(WorkerLostError, match=r"worker on 0 failed 6 times.*status 3"):
            look(child)

    @pytest.mark.parametrize("status", [KILLED, -11, STALLED_STATUS])
    def test_a_process_that_bad_images_end_is_restarted_however_often(
        self, child: Child, look: Callable[[Child], None], clock: Any, started: list[str], status: int
    ) -> None:
        for _ in range(5 * MAX_FAILED_STARTS):
            self.die_and_restart(child, clock, look, status)

        assert len(started) == 5 * MAX_FAILED_STARTS

    def test_failed_starts_count_only_in_a_row(
        self, child: Child, look: Callable[[Child], None], clock: Any, started: list[str]
    ) -> None:
        for status in [*[FAILED] * MAX_FAILED_STARTS, KILLED] * 3:
            self.die_and_restart(child, clock, look, status)

        assert len(started) == 3 * (MAX_FAILED_STARTS + 1)

    def test_a_process_that_was_healthy_starts_the_backoff_again(
        self, child: Child, look: Callable[[Child], None], clock: Any
    ) -> None:
        # given four early deaths, then a long life
        for _ in range(4):
            self.die_and_restart(child, clock, look)
        clock.now += STEADY_SECONDS

        assert self.die_and_restart(child, clock, look) == FIRST_BACKOFF_SECONDS
