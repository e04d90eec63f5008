"""Flags of commands that no test of a whole job passes: each reaches what it is about."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from producer.cli.main import cli


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Given a source of three files, in the current folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "crops").mkdir()
    for name in "abc":
        (tmp_path / f"crops/{name}.png").write_bytes(b"12345")
    return tmp_path


def call(*arguments: str) -> str:
    done = CliRunner().invoke(cli, list(arguments), standalone_mode=False)
    assert done.exception is None, done.exception
    return done.stdout


def planned(*arguments: str) -> Any:
    return json.loads(call("run", "crops", "-o", "out", "--dry-run", "--json", *arguments))


@pytest.mark.usefixtures("folder")
def test_limit_reads_the_first_items() -> None:
    assert (planned()["items"], planned("--limit", "2")["items"]) == (3, 2)


@pytest.mark.usefixtures("folder")
def test_a_price_reaches_the_estimate() -> None:
    assert planned("--price-per-device-hour", "1.5")["price_per_device_hour"] == 1.5


@pytest.mark.usefixtures("folder")
def test_a_key_is_bound_to_its_roots_in_its_entry() -> None:
    told = call("api-key", "me", "--scope", "read", "--root", "/data/team", "--root", "s3://team/")

    (entry,) = [line.split()[-1] for line in told.splitlines() if line.startswith("entry")]
    assert entry.startswith("me:read:")
    assert entry.endswith(":/data/team|s3://team/")


def test_no_write_keeps_doctor_from_writing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACE_OCR_ALLOWED_ROOTS", str(folder))
    asked: list[bool] = []

    def findings(_: object, *, write: bool) -> list[object]:
        asked.append(write)
        return []

    monkeypatch.setattr("producer.cli.doctor.findings", findings)

    call("doctor")
    call("doctor", "--no-write")

    assert asked == [True, False]
