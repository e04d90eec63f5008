"""`trace-ocr nightly`, as far as it needs no worker: nights without anything to read."""

import json
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from contract.errors import UsageError
from producer.cli.main import cli

Nightly = Callable[..., Result]


@pytest.fixture
def nightly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Nightly]:
    """Run the command over the folder `scans`, which is empty."""
    (tmp_path / "scans").mkdir()
    monkeypatch.chdir(tmp_path)
    before = signal.getsignal(signal.SIGTERM)

    def run(*arguments: str, source: str = "scans") -> Result:
        return CliRunner().invoke(cli, ["nightly", source, "-o", "nights", *arguments], standalone_mode=False)

    yield run
    signal.signal(signal.SIGTERM, before)


def test_a_day_without_scans_is_a_complete_night(nightly: Nightly, tmp_path: Path) -> None:
    ended = nightly("--date", "2026-11-20", "--json")

    assert ended.return_value == 0, ended.exception
    told = json.loads(ended.stdout)
    assert told["counts"]["listed"] == told["summary"]["request_counts"]["total"] == 0
    assert (tmp_path / "nights/2026-11-20/_SUCCESS").exists()
    assert (tmp_path / "nights/latest.jsonl").read_bytes() == b""
    assert {path.name for path in (tmp_path / "nights/nights").iterdir()} == {
        "2026-11-20.json",
        "2026-11-20.state.jsonl",
        "last.json",
    }


def test_the_same_date_is_the_same_night(nightly: Nightly) -> None:
    first = nightly("--date", "2026-11-20", "--json")
    nightly("--date", "2026-11-21")

    again = nightly("--date", "2026-11-20", "--json")

    assert (again.return_value, again.stdout) == (0, first.stdout)


def test_a_dry_run_writes_nothing(nightly: Nightly, tmp_path: Path) -> None:
    (tmp_path / "scans/a.png").write_bytes(b"12345")

    planned = nightly("--date", "2026-11-20", "--dry-run", "--json")

    told = json.loads(planned.stdout)
    assert (told["items"], told["bytes"], told["counts"]["new"]) == (1, 5, 1)
    assert not (tmp_path / "nights").exists()


def test_an_earlier_night_that_is_not_complete_is_continued_first(
    nightly: Nightly, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("producer.cli.nightly.conclude", killed)
        nightly("--date", "2026-11-20")

    ended = nightly("--date", "2026-11-21")

    assert ended.return_value == 0, ended.exception
    assert "night 2026-11-20 is not complete: it is continued first" in ended.stderr
    last = json.loads((tmp_path / "nights/nights/last.json").read_text())
    assert (last["night"], last["source"]) == ("2026-11-21", str(tmp_path / "scans"))
    assert nightly("--date", "2026-11-20").return_value == 0


def test_nights_only_go_forward(nightly: Nightly, tmp_path: Path) -> None:
    nightly("--date", "2026-11-20")
    nightly("--date", "2026-11-21")
    shutil.rmtree(tmp_path / "nights/2026-11-20")

    never = nightly("--date", "2026-11-19")
    removed = nightly("--date", "2026-11-20")

    assert isinstance(never.exception, UsageError)
    assert "there was no night 2026-11-19" in str(never.exception)
    assert isinstance(removed.exception, UsageError)
    assert "is gone" in str(removed.exception)


@pytest.mark.parametrize(
    ("arguments", "source", "said"),
    [
        (("--date", "2999-01-01"), "scans", "is in the future"),
        ((), "-", "standard input cannot be compared"),
        ((), "nowhere", "there is no folder"),
        (("--changed", "etag"), "scans", "no etag"),
        (("--reuse", "scans"), "scans", "holds no job.json"),
    ],
)
def test_what_cannot_be_a_night_is_refused_and_leaves_nothing(
    arguments: tuple[str, ...], source: str, said: str, nightly: Nightly, tmp_path: Path
) -> None:
    (tmp_path / "scans/a.png").write_bytes(b"12345")

    refused = nightly(*arguments, source=source)

    assert said in str(refused.exception)
    assert not list((tmp_path / "nights").rglob("*.json*"))


def test_another_source_is_refused(nightly: Nightly, tmp_path: Path) -> None:
    nightly("--date", "2026-11-20")
    (tmp_path / "other").mkdir()

    refused = nightly("--date", "2026-11-21", source="other")

    assert isinstance(refused.exception, UsageError)
    assert "use another folder for --output" in str(refused.exception)
