"""Comparing a reading with its truth: docTR's levels of tolerance, classes of characters, kinds of error."""

import functools
import unicodedata
from enum import StrEnum
from typing import NamedTuple

from anyascii import anyascii
from rapidfuzz.distance import Levenshtein


class TextMatch(NamedTuple):
    """Whether two texts are equal at each of docTR's levels of tolerance."""

    raw: bool
    caseless: bool
    anyascii: bool
    unicase: bool


EQUAL = TextMatch(True, True, True, True)


class CharacterClass(StrEnum):
    """What a character is, by its Unicode category; symbols count as punctuation."""

    DIGITS = "digits"
    LETTERS = "letters"
    PUNCTUATION = "punctuation"
    OTHER = "other"


class ErrorKind(StrEnum):
    """How a wrong reading differs from its truth: the first that applies."""

    NOTHING_READ = "nothing read"
    CASE = "only case"
    LOOKALIKE = "only accents or symbols"
    MISSING = "characters missing"
    EXTRA = "extra characters"
    WRONG = "wrong characters"
    MIXED = "mixed"


_CLASS_OF_CATEGORY = {
    "N": CharacterClass.DIGITS,
    "L": CharacterClass.LETTERS,
    "M": CharacterClass.LETTERS,
    "P": CharacterClass.PUNCTUATION,
    "S": CharacterClass.PUNCTUATION,
}


def text_match(truth: str, value: str) -> TextMatch:
    """Compare two texts with the rules of `doctr.utils.metrics.TextMatch`."""
    if truth == value:
        return EQUAL
    # In docTR's order: lowering after anyascii is what lets "EUR" match "€".
    plain_truth, plain_value = anyascii(truth), anyascii(value)
    return TextMatch(
        raw=False,
        caseless=truth.lower() == value.lower(),
        anyascii=plain_truth == plain_value,
        unicase=plain_truth.lower() == plain_value.lower(),
    )


@functools.lru_cache(maxsize=4096)
def class_of(character: str) -> CharacterClass:
    """Return the class of one character."""
    return _CLASS_OF_CATEGORY.get(unicodedata.category(character)[0], CharacterClass.OTHER)


def kind_of_error(truth: str, value: str) -> ErrorKind:
    """Return how a reading differs from its truth; both normalised, and not equal."""
    if not value:
        return ErrorKind.NOTHING_READ
    match = text_match(truth, value)
    if match.caseless:
        return ErrorKind.CASE
    if match.unicase:
        return ErrorKind.LOOKALIKE
    kinds = {operation.tag for operation in Levenshtein.editops(truth, value)}
    if len(kinds) > 1:
        return ErrorKind.MIXED
    return {"delete": ErrorKind.MISSING, "insert": ErrorKind.EXTRA, "replace": ErrorKind.WRONG}[kinds.pop()]


def marked(text: str, other: str) -> list[tuple[str, bool]]:
    """Return the text in pieces, each with whether it differs from the other text."""
    pieces = []
    for operation in Levenshtein.opcodes(text, other):
        piece = text[operation.src_start : operation.src_end]
        if piece:
            pieces.append((piece, operation.tag != "equal"))
    return pieces
