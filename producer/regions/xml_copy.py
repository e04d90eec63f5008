"""Copies of XML files with some places changed, and the tags to change."""

import codecs
import html
import re
from functools import cached_property

from producer.regions.base import Readable, Writable

UTF_16 = {codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}

_DECLARED = re.compile(rb"""^<\?xml[^>]*encoding\s*=\s*["']([A-Za-z0-9._-]+)""")

_ATTRIBUTE = re.compile(
    r"""\s+(?P<name>[^\s=>]+)\s*=\s*(?:"(?P<double>[^"]*)"|'(?P<single>[^']*)')""",
)

_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that no XML file can have, also not as references."""


class Copy:
    """A copy of a file that is being read, with some places replaced, in their order.

    Read the file through this. Only what is neither written nor replaced yet is in memory.
    """

    def __init__(self, file: Readable, target: Writable) -> None:
        self._file, self._target = file, target
        self._held, self._start = bytearray(), 0
        self._head = b""

    def read(self, size: int = -1, /) -> bytes:
        """Return the next bytes of the file."""
        data = self._file.read(size)
        self._head = self._head or data
        self._held += data
        return data

    def holds(self, start: int) -> bool:
        """Return whether a place is neither written nor replaced yet."""
        return start >= self._start

    def raw(self, start: int, end: int) -> str:
        """Return a part of the file that is not written yet."""
        return self._held[start - self._start : end - self._start].decode(self._encoding, "replace")

    def replace(self, start: int, end: int, text: str) -> None:
        """Write what comes before a place, and in the place the text."""
        self.keep(start)
        self._target.write(text.encode(self._encoding, "xmlcharrefreplace"))
        del self._held[: end - start]
        self._start = end

    def keep(self, end: int | None = None) -> None:
        """Write the file as it is up to a place, or to its end."""
        length = len(self._held) if end is None else end - self._start
        self._target.write(bytes(self._held[:length]))
        del self._held[:length]
        self._start += length

    @cached_property
    def _encoding(self) -> str:
        for mark, codec in UTF_16.items():
            if self._head.startswith(mark):
                return codec
        declared = _DECLARED.search(self._head[:200].removeprefix(codecs.BOM_UTF8))
        return declared[1].decode() if declared else "utf-8"


def escaped(text: str) -> str:
    """Return a text as it stands in an element or in a quoted attribute."""
    return html.escape(_FORBIDDEN.sub("\ufffd", text))


def attribute(tag: str, name: str, value: str) -> str:
    """Return a tag with an attribute changed, or added after the others; the rest stays as it is."""
    given = _attribute(tag, name)
    if given:
        start, end = given.span("double" if given["double"] is not None else "single")
        return tag[:start] + escaped(value) + tag[end:]
    close = re.search(r"\s*/?>\Z", tag)
    assert close is not None
    return f'{tag[: close.start()]} {name}="{escaped(value)}"{close[0]}'


def without(tag: str, name: str) -> str:
    """Return a tag without an attribute."""
    given = _attribute(tag, name)
    return tag[: given.start()] + tag[given.end() :] if given else tag


def opened(tag: str) -> str:
    """Return the tag that begins an element, of which the given one may be all: `<a/>` becomes `<a>`."""
    return tag.removesuffix("/>").rstrip() + ">" if tag.endswith("/>") else tag


def _attribute(tag: str, name: str) -> re.Match[str] | None:
    # All attributes in turn: the value of another one may look like this one.
    return next((found for found in _ATTRIBUTE.finditer(tag) if found["name"] == name), None)
