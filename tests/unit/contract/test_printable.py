"""What people see of text that would command their terminal."""

import json

import pytest

from contract.printable import printable, printable_json

CONTROLS = [
    ("\x1b]0;owned\x07", r"\x1b]0;owned\x07"),
    ("a\rb\nc\td\0", r"a\rb\nc\td\x00"),
    ("\x7f\x9b31m", r"\x7f\x9b31m"),
    ("gnp.\u202eexe", r"gnp.\u202eexe"),
    ("\u2066a\u2069\u200f\u061c", r"\u2066a\u2069\u200f\u061c"),
    ("a\u2028b", r"a\u2028b"),
    ("b\udcff.png", r"b\udcff.png"),
]


@pytest.mark.parametrize(("text", "shown"), CONTROLS)
def test_controls_are_shown_as_escape_sequences(text: str, shown: str) -> None:
    assert printable(text) == shown
    assert printable(shown) == shown


@pytest.mark.parametrize("text", ["", "a b/ü-画像-😀.png", r"back\slash", "שלום", "100%"])
def test_other_text_is_shown_as_it_is(text: str) -> None:
    assert printable(text) == printable_json(text) == text


def test_text_of_several_lines_keeps_them() -> None:
    assert printable("a\n\tb\r\x1b", lines=True) == "a\n\tb\\r\\x1b"


def test_json_stays_the_same_json() -> None:
    value = {"id": "".join(map(chr, range(0x100))) + "\u202e\u2028"}
    text = json.dumps(value, ensure_ascii=False, indent=1)

    shown = printable_json(text)

    assert json.loads(shown) == value
    assert printable(shown, lines=True) == shown
