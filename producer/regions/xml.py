"""XML files of regions: their elements, with the places of their tags.

Read by expat and not by lxml, because only expat says at which byte a tag begins: so a copy keeps every other
byte. It fetches nothing, and a file that declares entities is refused before one is expanded.
"""

from collections.abc import Iterator
from typing import NamedTuple
from xml.parsers import expat

from contract.errors import SourceError
from producer.regions.base import OtherFormatError, Readable

BLOCK_BYTES = 1 << 16
"""Bytes read and parsed at once."""

MAX_TOKEN_BYTES = 8 << 20
"""Maximum bytes of one tag or comment: expat holds it in memory. A polygon of 10,000 corners has 0.1 MB."""

MAX_DEPTH = 200
"""Maximum nested elements; PAGE's regions nest, and no real file has 30."""

MAX_TEXT_CHARACTERS = 4096
"""Characters kept of an element's text: a file's name has no more."""

MAX_NAMES = 1_000
"""Names of elements that are remembered; a format has some hundred."""

SEPARATOR = " "
"""Between namespace, name and prefix in expat's names; no namespace's URI has one."""


class Event(NamedTuple):
    """One tag.

    Args:
        starts: whether it begins an element; else it ends one
        name: local name if the element is in the root's namespace; else also its namespace, in braces
        attributes: of a tag that begins an element
        depth: 1 for the root
        text: of a tag that ends an element: the text since the last other tag
        start, end: the tag's first byte, and the first byte after it; `<empty/>` is two events, of which the
            second one has no bytes
        prefix: of the name, with its colon
    """

    starts: bool
    name: str
    attributes: dict[str, str]
    depth: int
    text: str
    start: int
    end: int
    prefix: str


_Begun = tuple[bool, str, dict[str, str], int, str, int, str]
"""An event whose end is not known yet: its other fields in their order."""


class Vocabulary(NamedTuple):
    """The elements of a format.

    Args:
        title: the format's name, for messages
        root: local name of the root element
        namespaces: those of the versions that are read; "" for none
        versions: in words
        lenient: names of entities that HTML defines may occur in texts
    """

    title: str
    root: str
    namespaces: frozenset[str]
    versions: str
    lenient: bool = False


def events(file: Readable, vocabulary: Vocabulary) -> Iterator[Event]:
    """Yield the tags of a file in order, in constant memory.

    Raises:
        OtherFormatError: the root is another element
        SourceError: the file is damaged, of a version that is not read, mixes versions, declares entities, or
            exceeds a bound
    """
    parser = _Parser(vocabulary)
    while block := file.read(BLOCK_BYTES):
        yield from parser.feed(block)
    yield from parser.feed(b"", final=True)


class _Parser:
    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._parser = parser = expat.ParserCreate(namespace_separator=SEPARATOR)
        parser.namespace_prefixes = True
        parser.StartElementHandler, parser.EndElementHandler = self._begin, self._end
        parser.CharacterDataHandler, parser.DefaultHandler = self._characters, self._other
        parser.EntityDeclHandler = _refuse_entity
        if vocabulary.lenient:
            parser.UseForeignDTD(True)
        self._namespace: str | None = None
        self._depth = self._count = 0
        self._text: list[str] = []
        self._characters_left = MAX_TEXT_CHARACTERS
        self._names: dict[str, tuple[str, str]] = {}
        self._pending: _Begun | None = None
        self._ready: list[Event] = []

    def feed(self, block: bytes, *, final: bool = False) -> list[Event]:
        """Return the tags whose end is known now."""
        self._count += len(block)
        try:
            self._parser.Parse(block, final)
        except expat.ExpatError as error:
            raise _damaged(error) from error
        except (LookupError, ValueError) as error:
            raise SourceError(f"its encoding cannot be read ({error}): save it as UTF-8") from error
        if final:
            self._settle(self._count)
        elif self._count - self._parser.CurrentByteIndex > MAX_TOKEN_BYTES:
            raise SourceError(f"line {self._parser.CurrentLineNumber} has a tag of more than 8 MiB")
        ready, self._ready = self._ready, []
        return ready

    def _begin(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise SourceError(f"its elements are nested more than {MAX_DEPTH} deep")
        self._note(name, attributes, starts=True)

    def _end(self, name: str) -> None:
        self._note(name, {}, starts=False)
        self._depth -= 1

    def _note(self, full: str, attributes: dict[str, str], *, starts: bool) -> None:
        at = self._parser.CurrentByteIndex
        self._settle(at)
        name, prefix = self._names.get(full) or self._named(full)
        text = "" if starts or not self._text else "".join(self._text)
        self._pending = starts, name, attributes, self._depth, text, at, prefix
        if self._text:
            self._text, self._characters_left = [], MAX_TEXT_CHARACTERS

    def _named(self, full: str) -> tuple[str, str]:
        """Return the name and the prefix of an element, and remember them."""
        namespace, name, prefix = _parts(full)
        if self._namespace is None:
            self._namespace = self._checked(namespace, name)
        if namespace != self._namespace:
            name = self._foreign(namespace, name)
        if len(self._names) < MAX_NAMES:
            self._names[full] = name, prefix
        return name, prefix

    def _checked(self, namespace: str, name: str) -> str:
        known = self._vocabulary
        if name != known.root:
            raise OtherFormatError(f"its root is <{name[:80]}>, and that of {known.title} is <{known.root}>")
        if namespace not in known.namespaces:
            raise SourceError(
                f"it is {known.title} in the namespace {namespace[:200]!r}: versions {known.versions} are "
                "read"
            )
        return namespace

    def _foreign(self, namespace: str, name: str) -> str:
        if namespace and namespace in self._vocabulary.namespaces:
            line = self._parser.CurrentLineNumber
            raise SourceError(f"line {line}: it mixes the versions {self._namespace} and {namespace}")
        return f"{{{namespace}}}{name}"

    def _settle(self, at: int) -> None:
        """Note where the last tag ends: where something else begins."""
        if self._pending is not None:
            starts, name, attributes, depth, text, start, prefix = self._pending
            self._ready.append(Event(starts, name, attributes, depth, text, start, at, prefix))
            self._pending = None

    def _characters(self, data: str) -> None:
        self._settle(self._parser.CurrentByteIndex)
        if self._characters_left > 0:
            self._text.append(data[: self._characters_left])
            self._characters_left -= len(data)

    def _other(self, _: str) -> None:
        self._settle(self._parser.CurrentByteIndex)


def _refuse_entity(name: str, *_: object) -> None:
    raise SourceError(f"it declares the entity {name[:80]!r}: files with entities are not read")


def _parts(full: str) -> tuple[str, str, str]:
    """Return namespace, local name and prefix of expat's name."""
    parts = full.split(SEPARATOR)
    if len(parts) == 1:
        return "", full, ""
    return parts[0], parts[1], parts[2] + ":" if len(parts) > 2 else ""


def _damaged(error: expat.ExpatError) -> SourceError:
    reason = expat.ErrorString(error.code)
    cut = ": is it cut off?" if reason in _CUT_OFF else ""
    return SourceError(f"line {error.lineno} is not well-formed XML ({reason}){cut}")


_CUT_OFF = (
    expat.errors.XML_ERROR_NO_ELEMENTS,
    expat.errors.XML_ERROR_UNCLOSED_TOKEN,
    expat.errors.XML_ERROR_UNCLOSED_CDATA_SECTION,
    expat.errors.XML_ERROR_PARTIAL_CHAR,
)
