"""Cores: what a container's quota leaves, rounded up; the machine's otherwise."""

import os
from pathlib import Path

import pytest

from contract import cores


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Given 8 cores and a folder in the place of the control groups."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setattr(cores, "QUOTA", tmp_path / "cpu.max")
    monkeypatch.setattr(cores, "QUOTA_V1", tmp_path / "quota")
    monkeypatch.setattr(cores, "PERIOD_V1", tmp_path / "period")
    return tmp_path


@pytest.mark.parametrize(
    ("quota", "expected"),
    [
        ("max 100000", 8),
        ("200000 100000", 2),
        ("250000 100000", 3),
        ("10000 100000", 1),
        ("900000 1000", 8),
        ("", 8),
        ("many", 8),
        ("1 0", 8),
    ],
)
def test_the_quota_of_a_container_counts(quota: str, expected: int, machine: Path) -> None:
    (machine / "cpu.max").write_text(quota)

    assert cores.available_cores() == expected


@pytest.mark.parametrize(("quota", "expected"), [("-1", 8), ("400000", 4)])
def test_so_does_one_of_the_first_version(quota: str, expected: int, machine: Path) -> None:
    (machine / "quota").write_text(quota)
    (machine / "period").write_text("100000")

    assert cores.available_cores() == expected


def test_without_control_groups_the_schedulers_cores_count(machine: Path) -> None:
    assert cores.available_cores() == 8


def test_threads_compute_one_for_each_physical_core(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # given 8 threads on 4 cores
    monkeypatch.setattr(cores, "CPUS", machine)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    for cpu in range(8):
        (machine / f"cpu{cpu}/topology").mkdir(parents=True)
        (machine / f"cpu{cpu}/topology/thread_siblings_list").write_text(f"{cpu % 4},{cpu % 4 + 4}")

    assert cores.computing_cores() == 4


@pytest.mark.parametrize(("named", "expected"), [("3", 3), ("2,1", 2), ("many", 8)])
def test_or_as_many_as_are_named(
    named: str, expected: int, machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cores, "CPUS", machine)
    monkeypatch.setenv("OMP_NUM_THREADS", named)

    assert cores.computing_cores() == expected
