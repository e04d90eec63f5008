"""Check what people want to correct against what was read, before it is recorded."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from contract.counting import counted
from contract.errors import JobStateError, UsageError
from contract.kinds.base import Kind
from contract.lines import Geometry
from contract.records import SHOWN, failure_of, identity_of
from producer.results.corrections import Correction
from producer.results.items import Items


class StaleCorrectionError(JobStateError):
    """A text was corrected by somebody else since it was shown."""


@dataclass(frozen=True)
class Wish:
    """A text that a person gives: of an item at its place in the job, or of a word on its page.

    `before` is the text that the person has seen; None if it does not matter.
    """

    id: str
    chunk: int
    index: int
    value: str
    word: int | None = None
    before: str | None = None


@dataclass(frozen=True)
class _Text:
    value: str
    confidence: float | None
    geometry: Geometry | None


def check_correctable(kind: Kind) -> None:
    """Raise JobStateError if lines of the kind cannot be corrected."""
    if kind.corrected is None:
        raise JobStateError(f"jobs of kind {kind.name} hold no text that could be corrected")


def corrections_of(wishes: Sequence[Wish], items: Items, by: str, at: float) -> list[Correction]:
    """Return the corrections that were asked for, complete.

    Args:
        by: who asks for them
        at: Unix seconds

    Raises:
        UsageError: there is no such item or word, or the item failed
        StaleCorrectionError: the text is another one by now
        JobStateError: as `check_correctable`
    """
    check_correctable(items.kind)
    return [_correction(wish, items, by, at) for wish in wishes]


def wishes_for(texts: Mapping[str, str], items: Items) -> list[Wish]:
    """Return the wishes for crops' texts by id; an id without a result has none. Reads all results."""
    return [Wish(one.id, one.chunk, one.index, texts[one.id]) for one in items.with_ids(texts)]


def _correction(wish: Wish, items: Items, by: str, at: float) -> Correction:
    line = items.line_at(wish.chunk, wish.index)
    if identity_of(line) != wish.id:
        place = f"item {wish.index} of chunk {wish.chunk}"
        raise UsageError(f"{place} is not {wish.id[:SHOWN]!r}: look at it again")
    if failure_of(line):
        raise UsageError(f"{wish.id[:SHOWN]!r} failed and has no text: trace-ocr retry-errors reads it again")
    found = _text(wish, items.kind, items.corrected(line))
    if wish.before is not None and wish.before != found.value:
        raise StaleCorrectionError(
            f"{wish.id[:SHOWN]!r} is {found.value[:SHOWN]!r} by now: look at it again before you correct it"
        )
    return Correction(
        wish.id,
        wish.chunk,
        wish.index,
        before=found.value,
        after=wish.value,
        by=by,
        at=at,
        word=wish.word,
        geometry=found.geometry,
        confidence=found.confidence,
    )


def _text(wish: Wish, kind: Kind, line: Any) -> _Text:
    if kind.reads == "value":
        if wish.word is not None:
            raise UsageError(f"{wish.id[:SHOWN]!r} is a crop, which has no words: leave word out")
        return _Text(line.value, line.confidence, None)
    words = list(kind.words(line))
    if wish.word is None or wish.word >= len(words):
        raise UsageError(
            f"{wish.id[:SHOWN]!r} has {counted(len(words), 'word')}: give the number of one, from 0"
        )
    word = words[wish.word]
    return _Text(word.value, word.confidence, word.geometry)
