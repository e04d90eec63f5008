"""How sure a job's readings are, as its lines say: for the summary, and for comparing nights."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import mul
from typing import Any

import msgspec

from contract.kinds import KINDS
from contract.kinds.base import CONFIDENCE_BINS
from contract.records import CropOutcome, Rated

MAX_GROUPS = 256
"""Maximum groups in a summary; items of further ones count as OTHERS."""

OTHERS = "..."
"""The group of all folders after the first MAX_GROUPS."""

NO_FOLDER = "."
"""The group of items whose id has no folder."""

MAX_GROUP_NAME = 100
"""Maximum characters of a group's name in the summary."""


def group_of(identity: str) -> str:
    """Return the first folder of an item's id, such as one camera's or one customer's."""
    return _folder(identity)[:-1][:MAX_GROUP_NAME] or NO_FOLDER


@dataclass
class Tally:
    """Sums over some results; `empty` counts items without any text. Confidences are in 0..1."""

    items: int = 0
    failed: int = 0
    error_codes: Counter[str] = field(default_factory=Counter)
    empty: int = 0
    readings: int = 0
    characters: int = 0
    rated: int = 0
    confidence: float = 0.0
    squares: float = 0.0
    bins: Counter[int] = field(default_factory=Counter)

    def add(self, values: Sequence[str], confidences: Sequence[float]) -> None:
        """Add readings: crops' texts, or the words of pages."""
        self.readings += len(values)
        self.characters += sum(map(len, values))
        self.rated += len(confidences)
        self.confidence += sum(confidences)
        self.squares += sum(map(mul, confidences, confidences))
        self.bins.update(map(int, map(float(CONFIDENCE_BINS).__mul__, confidences)))

    def merged(self, other: "Tally") -> None:
        """Add another tally to this one."""
        for name in ("items", "failed", "empty", "readings", "characters", "rated", "confidence", "squares"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.error_codes.update(other.error_codes)
        self.bins.update(other.bins)

    @property
    def histogram(self) -> list[int]:
        """Readings per bin; the last bin includes 1.0."""
        counts = [0] * CONFIDENCE_BINS
        for number, count in self.bins.items():
            counts[min(max(number, 0), CONFIDENCE_BINS - 1)] += count
        return counts

    @property
    def mean_confidence(self) -> float | None:
        """The mean confidence of all readings, or None without any."""
        return self.confidence / self.rated if self.rated else None

    def figures(self) -> dict[str, Any]:
        """Return what the summary says of a group."""
        mean, results = self.mean_confidence, self.items - self.failed
        spread = math.sqrt(max(0.0, self.squares / self.rated - mean * mean)) if mean is not None else None
        return {
            "items": self.items,
            "error_codes": dict(sorted(self.error_codes.items())),
            "empty": self.empty,
            "empty_share": _rounded(self.empty / results) if results else None,
            "readings": self.readings,
            "mean_length": _rounded(self.characters / self.readings) if self.readings else None,
            "mean_confidence": _rounded(mean),
            "confidence_deviation": _rounded(spread),
        }


class Quality:
    """The tallies of one merge, by group.

    Args:
        kind: the kind of the job's lines; only those of some kinds have confidences
    """

    def __init__(self, kind: str) -> None:
        self._kind = KINDS[kind]
        self._lines = msgspec.json.Decoder(self._kind.line)
        self._crops = msgspec.json.Decoder(CropOutcome)
        self._rated = msgspec.json.Decoder(Rated)
        self._groups: dict[str, Tally] = {}

    def add(self, lines: Sequence[bytes]) -> Sequence[Rated]:
        """Add the results among a part's lines; return what each line is, with its least confidence.

        Failures are added by `failed`, once it is known that no retry has read their items.
        """
        return self._add_crops(lines) if self._kind.reads == "value" else self._add_pages(lines)

    def failed(self, identity: str, code: str) -> None:
        """Add an item that no run could read."""
        tally = self._tally(group_of(identity))
        tally.items += 1
        tally.failed += 1
        tally.error_codes[code] += 1

    def _add_crops(self, lines: Sequence[bytes]) -> Sequence[Rated]:
        outcomes = list(map(self._crops.decode, lines))
        failed = any(one.error for one in outcomes)
        read = [one for one in outcomes if one.error is None] if failed else outcomes
        for folder, run in _runs(read):
            tally, values = self._tally(group_of(folder)), [one.value for one in run]
            tally.items += len(run)
            tally.empty += values.count("")
            tally.add(values, [one.confidence for one in run if one.confidence is not None])
        return outcomes

    def _add_pages(self, lines: Sequence[bytes]) -> Sequence[Rated]:
        outcomes = list(map(self._rated.decode, lines))
        for line, outcome in zip(lines, outcomes, strict=True):
            if outcome.error is None:
                tally = self._tally(group_of(outcome.id))
                tally.items += 1
                found = self._lines.decode(line)
                outcome.confidence = self._kind.certainty(found)
                if self._kind.reads == "words":
                    self._add_words(tally, found)
        return outcomes

    def _add_words(self, tally: Tally, line: Any) -> None:
        read = list(self._kind.readings(line))
        tally.empty += not read
        tally.add([one.value for one in read], [one.confidence for one in read if one.confidence is not None])

    def _tally(self, group: str) -> Tally:
        found = self._groups.get(group)
        if found is None:
            name = group if len(self._groups) < MAX_GROUPS else OTHERS
            found = self._groups.setdefault(name, Tally())
        return found

    @property
    def total(self) -> Tally:
        """The sum of all groups."""
        total = Tally()
        for tally in self._groups.values():
            total.merged(tally)
        return total

    def summary(self) -> dict[str, Any]:
        """Return the `quality` of the summary; groups only if there are several."""
        total = self.total
        groups = self._groups if len(self._groups) > 1 else {}
        return {
            **total.figures(),
            "confidence_histogram": total.histogram,
            "groups": {name: tally.figures() for name, tally in sorted(groups.items())},
        }


def _runs(read: list[CropOutcome]) -> Iterable[tuple[str, list[CropOutcome]]]:
    """Return the lines of each folder together: adding many at once takes a third of the time."""
    if not read:
        return []
    ids = [one.id for one in read]
    first, last = _folder(min(ids)), _folder(max(ids))
    # What lies between two ids of one folder, by their order, is in that folder.
    if first == last and (first or "/" not in "".join(ids)):
        return [(first, read)]
    return [(folder, list(run)) for folder, run in groupby(read, lambda one: _folder(one.id))]


def _folder(identity: str) -> str:
    return identity[: identity.find("/") + 1]


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
