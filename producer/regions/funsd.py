"""FUNSD's annotations of forms: one JSON file per image, which has the file's name.

`{"form": [{"id": 3, "box": [...], "label": "question", "words": [{"box": [...], "text": "..."}]}]}`.
A word is named by its entity's id and its place in it, counted from 1: `3.1`; an entity, the level `region`,
by its id. Texts go to `text`; confidences to `confidence`, which FUNSD lacks and its readers ignore.
"""

from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from contract.region import Level, Region, region_of
from producer.regions.base import Names, PageRegions, Readable, RegionOptions, RegionText, Texts, Writable
from producer.regions.json_text import (
    Edit,
    Span,
    changes,
    element,
    elements,
    members,
    parsed,
    read_whole,
    write_edited,
)

MAX_BYTES = 1 << 26
"""Maximum bytes of a file, which is held in memory: a page of FUNSD has less than 100 KB."""

WHAT = "a FUNSD file, a list of entities in `form`"


class Word(msgspec.Struct, gc=False):
    """A word of an entity."""

    box: Any = None
    text: str = ""


class Entity(msgspec.Struct, gc=False):
    """An entity: words that belong together, with a label such as `question`."""

    id: int | str
    box: Any = None
    label: Any = None
    words: list[Word] = []


class Form(msgspec.Struct):
    """What is read of a file."""

    form: msgspec.Raw


class Funsd:
    """FUNSD's annotations of forms."""

    extensions = frozenset({".json"})
    has_categories = True
    levels: tuple[Level, ...] = ("word", "region")
    holds_text = True

    def pages(self, file: Readable, options: RegionOptions) -> Iterator[PageRegions]:
        """Yield the one page of the file."""
        entities = _entities(memoryview(read_whole(file, MAX_BYTES)), options.categories)
        yield PageRegions("", _regions(entities, options.level))

    def write(self, file: Readable, options: RegionOptions, texts: Texts, target: Writable) -> None:
        """Write a copy with texts in `text` and confidences in `confidence`.

        If words are read, their entity's text is theirs, joined by spaces as in FUNSD.
        """
        data = memoryview(read_whole(file, MAX_BYTES))

        def read(name: str) -> RegionText | None:
            return texts("", None, name)

        write_edited(data, _edits(data, options, read), target)


FORMAT = Funsd()


def _entities(data: memoryview, labels: tuple[str, ...]) -> Iterator[tuple[Span, str, Entity]]:
    """Yield where each wanted entity is, and its name."""
    parsed(data, Form, WHAT)
    names = Names()
    for start, end in elements(data, members(data, (0, len(data))).spans["form"]):
        entity = element(data[start:end], Entity, "an entity of FUNSD")
        name = names.next(str(entity.id))
        if not labels or entity.label in labels:
            yield (start, end), name, entity


def _regions(entities: Iterator[tuple[Span, str, Entity]], level: Level | None) -> Iterator[Region]:
    for _, name, entity in entities:
        if level == "region":
            yield region_of(entity.box, name=name)
        else:
            yield from (region_of(word.box, name=_word(name, n)) for n, word in enumerate(entity.words, 1))


def _word(entity: str, number: int) -> str:
    return f"{entity}.{number}"


def _edits(
    data: memoryview, options: RegionOptions, read: Callable[[str], RegionText | None]
) -> Iterator[Edit]:
    for span, name, entity in _entities(data, options.categories):
        if options.level != "region":
            yield from sorted(_word_edits(data, span, name, entity, read))
        elif text := read(name):
            yield from changes(data, span, {"text": text.value, "confidence": text.confidence})


def _word_edits(
    data: memoryview, span: Span, name: str, entity: Entity, read: Callable[[str], RegionText | None]
) -> Iterator[Edit]:
    found = [read(_word(name, number)) for number in range(1, len(entity.words) + 1)]
    if not any(found):
        return
    for text, place in zip(found, elements(data, members(data, span).spans["words"]), strict=True):
        if text:
            yield from changes(data, place, {"text": text.value, "confidence": text.confidence})
    values = (text.value if text else word.text for text, word in zip(found, entity.words, strict=True))
    yield from changes(data, span, {"text": " ".join(filter(None, values))})
