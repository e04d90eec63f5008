"""What is counted of one model's readings that have a truth, one crop at a time."""

from array import array
from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property

from rapidfuzz.distance import Levenshtein

from producer.results.evaluation.certainty import Interval, wilson
from producer.results.evaluation.text import (
    CharacterClass,
    TextMatch,
    class_of,
    kind_of_error,
    text_match,
)

LENGTHS = (0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32)
"""Longest truth, in characters, of each group by length; longer ones are the last group."""

MAX_GROUPS = 200
"""Maximum groups of `by`: more than a reader looks at; the crops of further groups count as OTHER_GROUPS."""

MAX_CONFUSIONS = 20_000
"""Maximum pairs of characters that are counted: a vocabulary of 126 characters makes 16,000."""

OTHER_GROUPS = "(other groups)"


@dataclass
class Tally:
    """Right ones of some."""

    right: int = 0
    total: int = 0

    def add(self, right: int, total: int = 1) -> None:
        """Count some more."""
        self.right += right
        self.total += total

    @property
    def share(self) -> float | None:
        """The share of right ones; None of nothing."""
        return self.right / self.total if self.total else None

    @property
    def interval(self) -> Interval:
        """The share's 95% interval."""
        return wilson(self.right, self.total)


@dataclass
class Reference:
    """One crop's truth, as all models share it: in NFC, with its group of `by`."""

    text: str
    group: str | None = None

    @cached_property
    def classes(self) -> Counter[CharacterClass]:
        """The characters of the truth by class."""
        return Counter(map(class_of, self.text))

    @cached_property
    def words(self) -> list[str]:
        """The words of the truth."""
        return self.text.split()

    @cached_property
    def length(self) -> str:
        """The name of the truth's group by length."""
        return length_group(len(self.text))

    @cached_property
    def stripped(self) -> str:
        """The truth without white space around it."""
        return self.text.strip()


@dataclass
class Measures:
    """The counts of one model; memory is bounded but for nine bytes per crop, for its confidence.

    A confidence keeps the 8 bytes that lines have: a threshold found among rounded ones would not match them.
    """

    crops: int = 0
    matches: list[int] = field(default_factory=lambda: [0] * len(TextMatch._fields))
    edits: int = 0
    reference_characters: int = 0
    word_edits: int = 0
    reference_words: int = 0
    similarity: float = 0.0
    within_vocabulary: Tally = field(default_factory=Tally)
    by_length: dict[str, Tally] = field(default_factory=dict)
    by_group: dict[str, Tally] = field(default_factory=dict)
    by_class: dict[CharacterClass, Tally] = field(default_factory=dict)
    kinds_of_error: Counter[str] = field(default_factory=Counter)
    confusions: Counter[tuple[str, str]] = field(default_factory=Counter)
    confidences: "array[float]" = field(default_factory=lambda: array("d"))
    right: bytearray = field(default_factory=bytearray)

    def add(self, reference: Reference, value: str, confidence: float, *, readable: bool = True) -> bool:
        """Count one reading; return whether it is right.

        Args:
            value: the reading, in NFC
            readable: whether the model's vocabulary has all characters of the truth
        """
        right = value == reference.text
        self.crops += 1
        for level, equal in enumerate(text_match(reference.text, value)):
            self.matches[level] += equal
        self.confidences.append(confidence)
        self.right.append(right)
        if readable:
            self.within_vocabulary.add(right)
        self.by_length.setdefault(reference.length, Tally()).add(right)
        if reference.group is not None:
            self._group(reference.group).add(right)
        for character_class, number in reference.classes.items():
            self.by_class.setdefault(character_class, Tally()).add(number, number)
        self.reference_characters += len(reference.stripped)
        self.reference_words += len(reference.words)
        if right:
            self.similarity += 1.0
        else:
            self._count_errors(reference, value)
        return right

    def match(self, level: str) -> float | None:
        """Return the share of readings that match at a level of `TextMatch`."""
        return self.matches[TextMatch._fields.index(level)] / self.crops if self.crops else None

    @property
    def exact(self) -> Tally:
        """The readings that equal their truth."""
        return Tally(self.matches[0], self.crops)

    @property
    def cer(self) -> float | None:
        """Edit distance, summed, per character of the truths; None if they have none."""
        return self.edits / self.reference_characters if self.reference_characters else None

    @property
    def wer(self) -> float | None:
        """Edit distance in words, summed, per word of the truths; None if they have none."""
        return self.word_edits / self.reference_words if self.reference_words else None

    @property
    def one_minus_ned(self) -> float | None:
        """1 minus the mean edit distance, each divided by the longer text's length."""
        return self.similarity / self.crops if self.crops else None

    def _group(self, name: str) -> Tally:
        if name not in self.by_group and len(self.by_group) >= MAX_GROUPS:
            name = OTHER_GROUPS
        return self.by_group.setdefault(name, Tally())

    def _count_errors(self, reference: Reference, value: str) -> None:
        truth = reference.text
        self.similarity += 1 - Levenshtein.normalized_distance(truth, value)
        self.edits += Levenshtein.distance(reference.stripped, value.strip())
        self.word_edits += Levenshtein.distance(reference.words, value.split())
        self.kinds_of_error[kind_of_error(truth, value)] += 1
        for operation in Levenshtein.editops(truth, value):
            expected = "" if operation.tag == "insert" else truth[operation.src_pos]
            read = "" if operation.tag == "delete" else value[operation.dest_pos]
            if expected:
                self.by_class[class_of(expected)].add(-1, 0)
            if len(self.confusions) < MAX_CONFUSIONS or (expected, read) in self.confusions:
                self.confusions[expected, read] += 1


def length_group(length: int) -> str:
    """Return the name of a group by length, such as `5-6` or `33+`."""
    shortest = 0
    for longest in LENGTHS:
        if length <= longest:
            return str(longest) if shortest == longest else f"{shortest}-{longest}"
        shortest = longest + 1
    return f"{shortest}+"
