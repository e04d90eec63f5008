"""What describes a kind of job; producer, API and worker derive everything else from it."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any, Literal, NamedTuple

import msgspec
from pydantic import BaseModel, ConfigDict

from contract.architectures import Task
from contract.lines import WordBox

Unit = Literal["crop", "page"]
"""What an item is: an image of one text snippet, or a page, of which a document has several."""


class Parameters(BaseModel):
    """Base of every kind's parameters: immutable, and unknown names are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def wanted_models(self) -> tuple["WantedModel", ...]:
        """Return the models that a job with these parameters needs and that its caller can choose."""
        return ()

    def inputs(self) -> tuple[str, ...]:
        """Return the URIs of the files that a job reads besides its source."""
        return ()


class WantedModel(NamedTuple):
    """A model that a parameter names: an architecture, or an entry of the model store."""

    parameter: str
    task: Task
    name: str


class Excerpt(NamedTuple):
    """A result in a few words, and its confidence in 0..1, or None if it has none."""

    value: str
    confidence: float | None


class Given(NamedTuple):
    """The text that a person gave, and who."""

    value: str
    by: str


def _no_words(_: Any) -> Iterable[WordBox]:
    return ()


def _no_note(_: Any) -> str:
    return ""


@dataclass(frozen=True)
class Kind:
    """One kind of job.

    Queues, tasks, flags, routes, metric labels, samples and views are derived from this.

    Args:
        name: used in job.json, on the command line, as route and as metric label
        help: what the kind reads, for the command line and the API's documentation
        parameters: model with the Trace OCR API's names and defaults
        line: type of one JSONL result; its first fields are `id` and `name`
        unit: what an item is
        chunk_size: default number of items in a chunk: a minute or less of work, so that little is lost with
            a killed worker
        batch: name of the parameter for the first model's batch size
        excerpt: returns the excerpt of a line that lists show
        tuning: parameters that change how fast lines are made but not their content; a job may continue
            with other values
        reads: what a line says with a confidence: its own `value`, or each of its `words`; nothing by default
        words: returns a page's words with their boxes, in reading order; a crop has none
        page_exports: formats that workers prepare page by page
        line_exports: formats of pages that are made of their lines alone
        aliases: other names of parameters over HTTP
        corrected: returns a line with texts that people gave: of the line itself (None), or of its words, by
            their number in the order of `words`; None if lines of the kind cannot be corrected
        unanswered: fields of a line that answers over HTTP leave out
        view_note: returns a note for viewers of a job with these parameters; empty if there is none
    """

    name: str
    help: str
    parameters: type[Parameters]
    line: type[msgspec.Struct]
    unit: Unit
    chunk_size: int
    batch: str
    excerpt: Callable[[Any], Excerpt]
    tuning: frozenset[str]
    reads: Literal["value", "words", "nothing"] = "nothing"
    words: Callable[[Any], Iterable[WordBox]] = _no_words
    page_exports: tuple[str, ...] = ()
    line_exports: tuple[str, ...] = ()
    aliases: Mapping[str, str] = field(default_factory=dict)
    corrected: Callable[[Any, Mapping[int | None, Given]], Any] | None = None
    unanswered: frozenset[str] = frozenset({"id", "label", "metadata"})
    view_note: Callable[[Any], str] = _no_note

    def readings(self, line: Any) -> Iterator[Excerpt]:
        """Yield each text of a line with its confidence: a crop's one, or a page's words."""
        if self.reads == "value":
            yield Excerpt(line.value, line.confidence)
        elif self.reads == "words":
            yield from (Excerpt(word.value, word.confidence) for word in self.words(line))

    def certainty(self, line: Any) -> float | None:
        """Return the confidence of a line's least certain text; None if it has no text, or no confidence."""
        if self.reads == "nothing":
            return self.excerpt(line).confidence
        rated = (one.confidence for one in self.readings(line) if one.confidence is not None)
        return min(rated, default=None)

    def identity(self, parameters: Parameters) -> dict[str, Any]:
        """Return the parameters that decide the lines' content."""
        return parameters.model_dump(mode="json", exclude=set(self.tuning))


CONFIDENCE_BINS = 20
"""Bins of the histograms of confidence: each is 0.05 wide."""


def json_value(text: str) -> Any:
    """Return the value of a flag or a variable that is written as a JSON list or object.

    Raises:
        ValueError: it is not JSON, or nested too deeply
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("the value is nested too deeply") from None


def excerpt_of_words(words: Iterable[WordBox]) -> Excerpt:
    """Return the words of a page, in order, and their mean confidence."""
    read = list(words)
    confidences = [word.confidence for word in read if word.confidence is not None]
    return Excerpt(" ".join(word.value for word in read), fmean(confidences) if confidences else None)
