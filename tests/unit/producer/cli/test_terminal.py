"""What commands print of names, ids and texts that would command the terminal."""

import json
from io import BytesIO
from pathlib import Path

import pytest

from contract.lines import RecognitionLine, encode_line
from contract.storage.local import LocalStore
from producer.cli.terminal import copy_json_lines, echo, echo_json

HOSTILE = "a\x1b[2J\x9b31m\u202e\nfaked"
CONTROLS = set("\x1b\x9b\u202e")


class Output(BytesIO):
    def __init__(self, *, terminal: bool) -> None:
        super().__init__()
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal


@pytest.mark.parametrize("err", [False, True])
def test_a_line_for_people_is_one_line_of_visible_characters(
    err: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    echo(f"job {HOSTILE} is paused", err=err)

    printed = capsys.readouterr()
    assert (printed.err if err else printed.out) == "job a\\x1b[2J\\x9b31m\\u202e\\nfaked is paused\n"


def test_json_is_visible_and_the_same_json(capsys: pytest.CaptureFixture[str]) -> None:
    echo_json(encode_line({"id": HOSTILE}))

    printed = capsys.readouterr().out
    assert json.loads(printed) == {"id": HOSTILE}
    assert not set(printed) & CONTROLS


@pytest.mark.parametrize("terminal", [False, True])
def test_lines_are_copied_as_they_are_unless_to_a_terminal(terminal: bool, tmp_path: Path) -> None:
    data = encode_line(RecognitionLine(HOSTILE, HOSTILE, "ü" + HOSTILE, 0.5)) * 2
    (tmp_path / "results.jsonl").write_bytes(data)
    target = Output(terminal=terminal)

    with LocalStore().reader(str(tmp_path / "results.jsonl")) as stream:
        copy_json_lines(stream, target)

    copied = target.getvalue()
    assert (copied == data) is not terminal
    assert list(map(json.loads, copied.splitlines())) == list(map(json.loads, data.splitlines()))
    assert bool(set(copied.decode()) & CONTROLS) is not terminal
