"""One comparison: takes crops with the readings of several models, one by one, and reports on them."""

import heapq
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import NamedTuple

from contract.lines import CompareLine
from producer.results.evaluation.certainty import accepted_at, mcnemar, risk_coverage, threshold_for
from producer.results.evaluation.measures import LENGTHS, Measures, Reference, length_group
from producer.results.evaluation.report import (
    Accuracy,
    Confusion,
    CropCounts,
    Disagreement,
    Judged,
    ModelReport,
    PairReport,
    Share,
)
from producer.results.evaluation.text import kind_of_error
from producer.results.evaluation.truth import FOLDER, Truth, folder_of, normalised

TOP_CONFUSIONS = 30
"""Confusions of each model in a report."""

EXAMPLES = 240
"""Crops that a report shows, shared by its models: a page that opens at once on a phone."""


class Compared(NamedTuple):
    """A model or cascade of a comparison.

    Args:
        name: as the readings have it
        second: the second model of a cascade; None for one model
        vocabulary: the characters that it can read; None if they are not known
    """

    name: str
    second: str | None = None
    vocabulary: frozenset[str] | None = None


@dataclass(frozen=True)
class Example:
    """A crop that the report may show, and the chunk of its item."""

    disagreement: Disagreement
    chunk: int


@dataclass
class _Best:
    """The examples of the highest rank; the earlier one of two equal ones."""

    size: int
    heap: list[tuple[float, int, Example]] = field(default_factory=list)

    def offer(self, rank: float, number: int, example: Example) -> None:
        entry = (rank, -number, example)
        if len(self.heap) < self.size:
            heapq.heappush(self.heap, entry)
        elif entry[:2] > self.heap[0][:2]:
            heapq.heapreplace(self.heap, entry)


class Evaluation:
    """Counts as crops come; memory is bounded but for nine bytes per reading that has a truth.

    Args:
        models: in the order of each line's readings
        truth: the correct texts, fitted to the items; lines' labels count where it has none
        by: `folder`, a column of the truth, or None
        on_disagreement: takes each crop that a model read wrong, or that they read differently, in order
    """

    def __init__(
        self,
        models: Sequence[Compared],
        truth: Truth | None,
        by: str | None,
        on_disagreement: Callable[[Disagreement], None],
    ) -> None:
        self._models, self._truth, self._by = tuple(models), truth, by
        self._on_disagreement = on_disagreement
        self._measures = [Measures() for _ in models]
        self._confidence = [0.0] * len(self._models)
        self._passed_on = [0] * len(self._models)
        self._alike: Counter[tuple[int, ...]] = Counter()
        self._right: Counter[tuple[bool, ...]] = Counter()
        self._disagreements = 0
        each = max(1, EXAMPLES // max(1, len(self._models)))
        self._wrong = [_Best(each) for _ in models]
        self._contested = _Best(EXAMPLES)

    def add(self, line: CompareLine, chunk: int) -> None:
        """Count one crop."""
        values = [normalised(reading.value) for reading in line.readings]
        self._alike[tuple(map(values.index, values))] += 1
        for place, reading in enumerate(line.readings):
            self._confidence[place] += reading.confidence
            second = self._models[place].second
            self._passed_on[place] += second is not None and reading.read_by == second
        reference, right = self._reference(line), None
        if reference is not None:
            right = tuple(self._judged(place, reference, values[place], line) for place in range(len(values)))
            self._right[right] += 1
        if len(set(values)) > 1 or (right and not all(right)):
            self._note(line, chunk, values, reference)

    def _reference(self, line: CompareLine) -> Reference | None:
        entry = self._truth.find(line.id, line.name) if self._truth else None
        text = entry.text if entry else line.label
        if text is None:
            return None
        group = folder_of(line.id) if self._by == FOLDER else entry and entry.group
        return Reference(normalised(text), group)

    def _judged(self, place: int, reference: Reference, value: str, line: CompareLine) -> bool:
        vocabulary = self._models[place].vocabulary
        readable = vocabulary is None or vocabulary.issuperset(reference.text)
        confidence = line.readings[place].confidence
        return self._measures[place].add(reference, value, confidence, readable=readable)

    def _note(
        self, line: CompareLine, chunk: int, values: Sequence[str], reference: Reference | None
    ) -> None:
        truth = reference.text if reference else None
        readings = tuple(
            _judgement(reading.model, value, reading.confidence, truth)
            for reading, value in zip(line.readings, values, strict=True)
        )
        noted = Disagreement(line.id, line.name, readings, _contest(readings), truth)
        self._disagreements += 1
        self._on_disagreement(noted)
        example = Example(noted, chunk)
        if reference is None:
            self._contested.offer(noted.contest, self._disagreements, example)
            return
        for best, reading in zip(self._wrong, readings, strict=True):
            if not reading.right:
                best.offer(reading.confidence, self._disagreements, example)

    def examples(self) -> list[Example]:
        """Return the crops to show: the surest errors of each model, then the most contested ones."""
        ranked: dict[int, tuple[float, Example]] = {}
        for best in (*self._wrong, self._contested):
            for rank, number, example in best.heap:
                ranked[-number] = max(rank, ranked.get(-number, (rank, example))[0]), example
        ordered = sorted(ranked.items(), key=lambda one: (-one[1][0], one[0]))
        examples = [example for _, (_, example) in ordered]
        examples.sort(key=lambda example: example.disagreement.truth is None)
        return examples[:EXAMPLES]

    def passed_on(self) -> list[int | None]:
        """Return the crops that each cascade's second model read; None for one model."""
        counted = zip(self._models, self._passed_on, strict=True)
        return [number if model.second else None for model, number in counted]

    def counts(self, failed: int = 0, not_joined: int = 0) -> CropCounts:
        """Return how many crops were counted, and what they had."""
        read, judged = self._alike.total(), self._right.total()
        return CropCounts(read, judged, read - judged, self._disagreements, failed, not_joined)

    def models(self, target_precision: float) -> Iterator[ModelReport]:
        """Yield the report of each model, without its speed."""
        read = self._alike.total()
        for place, model in enumerate(self._models):
            yield ModelReport(
                name=model.name,
                mean_confidence=self._confidence[place] / read if read else None,
                accuracy=self._accuracy(place, target_precision) if self._right else None,
                passed_on=self._passed_on[place] if model.second else None,
            )

    def pairs(self) -> Iterator[PairReport]:
        """Yield the report of each pair of models."""
        read = self._alike.total()
        names = [model.name for model in self._models]
        for (one, first), (two, second) in combinations(enumerate(names), 2):
            alike = sum(number for pattern, number in self._alike.items() if pattern[one] == pattern[two])
            agreement = alike / read if read else None
            if not self._right:
                yield PairReport(first, second, agreement)
                continue
            only_first = sum(count for right, count in self._right.items() if right[one] and not right[two])
            only_second = sum(count for right, count in self._right.items() if right[two] and not right[one])
            yield PairReport(
                first, second, agreement, only_first, only_second, mcnemar(only_first, only_second)
            )

    def _accuracy(self, place: int, target_precision: float) -> Accuracy:
        measures, known = self._measures[place], self._models[place].vocabulary is not None
        steps = list(accepted_at(measures.confidences, measures.right))
        within = measures.within_vocabulary
        return Accuracy(
            exact=Share.of(measures.exact),
            caseless=measures.match("caseless"),
            anyascii=measures.match("anyascii"),
            unicase=measures.match("unicase"),
            cer=measures.cer,
            wer=measures.wer,
            one_minus_ned=measures.one_minus_ned,
            outside_vocabulary=measures.crops - within.total if known else None,
            within_vocabulary=Share.of(within) if known else None,
            threshold=threshold_for(target_precision, steps, measures.crops),
            risk_coverage=risk_coverage(steps, measures.crops),
            by_length={
                name: Share.of(measures.by_length[name])
                for name in map(length_group, (*LENGTHS, LENGTHS[-1] + 1))
                if name in measures.by_length
            },
            by_group={name: Share.of(tally) for name, tally in sorted(measures.by_group.items())},
            by_class={name.value: Share.of(tally) for name, tally in sorted(measures.by_class.items())},
            kinds_of_error=dict(measures.kinds_of_error.most_common()),
            confusions=tuple(
                Confusion(truth, read, count)
                for (truth, read), count in measures.confusions.most_common(TOP_CONFUSIONS)
            ),
        )


def _judgement(model: str, value: str, confidence: float, truth: str | None) -> Judged:
    if truth is None:
        return Judged(model, value, confidence)
    right = value == truth
    return Judged(model, value, confidence, right, None if right else kind_of_error(truth, value).value)


def _contest(readings: Sequence[Judged]) -> float:
    support: dict[str, float] = {}
    for reading in readings:
        support[reading.value] = support.get(reading.value, 0.0) + reading.confidence
    total = sum(support.values())
    return 1 - max(support.values()) / total if total else 1 - 1 / len(support)
