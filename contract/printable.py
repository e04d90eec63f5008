"""Control characters in text from outside, made visible: on a terminal they are commands.

Ids, names of files, error messages and texts that a model read may hold escape sequences, which clear a
screen or fake a line, and bidirectional controls, which change the order of what follows. Everything that
people read on a terminal goes through this module; what is written as XML, as far as XML demands.
"""

import re
from collections.abc import Callable
from typing import Any

CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""C0, DEL and C1; Unicode's bidirectional controls and line separators; unpaired surrogates, which stand for
bytes that are not UTF-8 and cannot be printed."""

_CONTROLS_OF_LINES = re.compile(CONTROLS.pattern.replace("\x00-\x1f", "\x00-\x08\x0b-\x1f"))
"""All but tabs and newlines."""

_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that an XML 1.0 document must not contain, not even as references."""


def printable(text: str, *, lines: bool = False) -> str:
    r"""Return the text with each control character as an escape sequence of Python, such as \x1b or \u202e.

    Args:
        lines: the text has several lines: keep its newlines and tabs
    """
    return (_CONTROLS_OF_LINES if lines else CONTROLS).sub(_escaped, text)


def printable_json(text: str) -> str:
    r"""Return the same JSON with the control characters in its strings as \uXXXX."""
    return _CONTROLS_OF_LINES.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def for_xml(text: str) -> str:
    """Return the text with U+FFFD for each character that XML does not allow."""
    return _NOT_IN_XML.sub("\N{REPLACEMENT CHARACTER}", text)


def in_texts(change: Callable[[str], str], value: Any) -> Any:
    """Return a value of dicts and lists with every text changed; other objects are their `repr`, changed."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, dict):
        return {in_texts(change, key): in_texts(change, inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [in_texts(change, inner) for inner in value]
    return change(value if isinstance(value, str) else repr(value))


def _escaped(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode()
