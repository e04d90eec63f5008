"""The systemd units: valid, confined, restarted for ever, and patient with workers."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from contract.errors import ExitCode
from contract.settings import Settings
from tests.unit.deploy.deployment import SYSTEMD, units

UNITS = units()
NIGHTLY = "trace-ocr-nightly.service"
WORKER = "trace-ocr-worker@.service"


def test_the_units_are_known() -> None:
    assert set(UNITS) == {
        "trace-ocr-api.service",
        "trace-ocr-control.service",
        "trace-ocr-flower.service",
        NIGHTLY,
        WORKER,
    }


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not installed")
@pytest.mark.parametrize("name", UNITS)
def test_systemd_accepts_every_unit(name: str, tmp_path: Path) -> None:
    # Only programs that exist pass; any will do.
    text = (SYSTEMD / name).read_text().replace("/opt/trace-ocr/bin/trace-ocr", sys.executable)
    (tmp_path / name).write_text(text)

    checked = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(tmp_path / name)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (checked.returncode, checked.stderr) == (0, "")


@pytest.mark.parametrize("name", UNITS)
def test_every_unit_is_confined_and_comes_back(name: str) -> None:
    unit = dict(UNITS[name])

    assert unit["User"] == unit["Group"] == "trace-ocr"
    comes_back = "on-failure" if name == NIGHTLY else "always"
    assert (unit["Restart"], unit["StartLimitIntervalSec"]) == (comes_back, "0")
    assert unit["KillMode"] == "mixed"
    assert unit["ProtectSystem"] == "strict"
    assert unit["CapabilityBoundingSet"] == ""
    assert unit["SystemCallFilter"] == "@system-service"
    for setting in ("NoNewPrivileges", "PrivateTmp", "ProtectHome", "RestrictNamespaces", "LockPersonality"):
        assert unit[setting] == "yes"
    assert (unit.get("PrivateDevices") == "yes") != (unit.get("DevicePolicy") == "closed")


def test_a_night_is_continued_after_a_failure_but_not_over_bad_items() -> None:
    unit = dict(UNITS[NIGHTLY])

    assert unit["Type"] == "oneshot"
    lasting = (ExitCode.ITEMS_FAILED, ExitCode.USAGE, ExitCode.QUALITY_LOW)
    assert unit["RestartPreventExitStatus"] == " ".join(f"{code:d}" for code in lasting)
    assert (SYSTEMD / NIGHTLY).with_suffix(".timer").is_file()


def test_a_worker_is_pinned_to_its_instances_device_and_has_time_to_finish() -> None:
    unit = dict(UNITS[WORKER])
    environment = " ".join(value for name, value in UNITS[WORKER] if name == "Environment")
    grace = float(environment.partition("TRACE_OCR_SHUTDOWN_GRACE_SECONDS=")[2].split()[0])

    assert unit["ExecStart"].endswith("worker --devices %i")
    assert grace >= Settings.model_fields["shutdown_grace_seconds"].default
    assert float(unit["TimeoutStopSec"]) > grace


def test_a_worker_survives_a_child_that_is_killed_for_its_memory() -> None:
    assert dict(UNITS[WORKER])["OOMPolicy"] == "continue"


@pytest.mark.parametrize("name", UNITS)
def test_secrets_come_from_files_that_are_not_ours(name: str) -> None:
    files = [value for setting, value in UNITS[name] if setting == "EnvironmentFile"]

    assert files[0] == "/etc/trace-ocr/trace-ocr.env"
    assert all(file.startswith("/etc/trace-ocr/") for file in files)
