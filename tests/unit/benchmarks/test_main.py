"""The benchmark's run: a part that misses a target is measured once more, and the exit status says so."""

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from benchmarks import __main__ as bench
from benchmarks.rows import Row

GOOD, BAD = Row("speed", 2.0, "x", 1.8), Row("speed", 1.7, "x", 1.8)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Run `control` with the rows of its first and second look; return the result and the looks taken."""

    def run(first: Row, second: Row) -> tuple[Any, int]:
        looks: list[Path] = []

        def part(folder: Path) -> Any:
            looks.append(folder)
            return [first if len(looks) == 1 else second], {}

        monkeypatch.setattr(bench, "parts_of", lambda full: {"control": part})
        monkeypatch.setattr(bench, "RESULTS", tmp_path / "results")
        monkeypatch.setattr(bench, "write", lambda rows, name, details: "table")
        return CliRunner().invoke(bench.main, ["control"]), len(looks)

    return run


def test_what_reaches_its_target_is_measured_once(run: Any) -> None:
    result, looks = run(GOOD, BAD)

    assert (result.exit_code, looks) == (0, 1)
    assert "pass" in result.output


def test_a_part_that_misses_a_target_by_noise_is_measured_again(run: Any) -> None:
    result, looks = run(BAD, GOOD)

    assert (result.exit_code, looks) == (0, 2)
    assert "missed its target" in result.output


def test_what_falls_short_twice_fails_the_run(run: Any) -> None:
    result, looks = run(BAD, BAD)

    assert (result.exit_code, looks) == (1, 2)
    assert "FAIL" in result.output
