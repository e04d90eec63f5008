"""The benchmark's table: verdicts, ratios of neighbours in time, and its place in the docs."""

import json
from pathlib import Path

import pytest

from benchmarks import rows
from benchmarks.rows import BEGIN, END, Row, fill, interleaved, median_ratio, write


@pytest.mark.parametrize(
    ("value", "at_most", "passed"),
    [(1.6, False, True), (1.59, False, False), (1.6, True, True), (1.61, True, False)],
)
def test_a_target_is_reached_from_its_own_side(value: float, at_most: bool, passed: bool) -> None:
    assert Row("speed", value, "x", 1.6, at_most=at_most).passed is passed


def test_a_row_says_what_it_must_reach_and_whether_it_does() -> None:
    assert Row("plan", 151_234.0, "items/s", 150_000).cells() == (
        "plan",
        "151,234 items/s",
        "≥ 150,000 items/s",
        "pass",
    )
    assert Row("status", 21.0, "ms", 20, at_most=True).cells()[2:] == ("≤ 20 ms", "FAIL")
    assert Row("crops", 5.0, "", None).cells()[2:] == ("", "")


def test_contestants_take_turns() -> None:
    calls: list[str] = []

    measured = interleaved(
        {name: lambda name=name: float(len(calls.append(name) or calls)) for name in "ab"},  # type: ignore[misc]
        3,
    )

    assert calls == list("ababab")
    assert measured == {"a": [1, 3, 5], "b": [2, 4, 6]}


def test_a_ratio_is_taken_within_each_round() -> None:
    # given a machine that was half as fast in the second round, for both
    assert median_ratio([100, 50, 101], [50, 25, 50]) == 2


def test_the_table_is_written_for_people_and_for_programs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "RESULTS", tmp_path)
    monkeypatch.setattr(rows, "versions", lambda: "docTR 1.1")

    table = write([Row("speed", 1.5, "x", 1.6)], "table", {"rates": {"a": [1.0]}})

    assert (tmp_path / "table.md").read_text(encoding="utf-8") == table
    assert "| speed | 1.5 x | ≥ 1.6 x | FAIL |" in table
    record = json.loads((tmp_path / "table.json").read_text(encoding="utf-8"))
    assert record["rows"][0] | {"passed": False, "value": 1.5} == record["rows"][0]
    assert record["rates"] == {"a": [1.0]}


def test_a_page_shows_the_newest_table_alone() -> None:
    page = f"before\n{BEGIN}\nold\n{END}\nafter\n"

    assert fill(page, "new\n") == f"before\n{BEGIN}\nnew\n{END}\nafter\n"


def test_a_page_without_the_markers_is_an_error() -> None:
    with pytest.raises(ValueError, match="no <!-- bench:begin -->"):
        fill("no table here", "new\n")
