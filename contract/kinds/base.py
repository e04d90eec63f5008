"""What a kind of job is: everything that producer, API and worker derive from its one description."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any, Literal, NamedTuple

import msgspec
from pydantic import BaseModel, ConfigDict

from contract.lines import WordBox

Unit = Literal["crop", "page"]
"""What an item is: an image of one text snippet; or a page, of which a document has several."""


class Parameters(BaseModel):
    """Base of every kind's parameters: immutable, and closed to names that it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Excerpt(NamedTuple):
    """A result in a few words, and its confidence in 0..1; None where there is none."""

    value: str
    confidence: float | None


def _no_words(_: Any) -> Iterable[WordBox]:
    return ()


def _no_note(_: Any) -> str:
    return ""


@dataclass(frozen=True)
class Kind:
    """One kind of job.

    Queues, tasks, flags, routes, metric labels, samples and views derive from this.

    Args:
        name: in job.json, on the command line, as route and as metric label
        help: what is read, for the command line and the API's documentation
        parameters: the Trace OCR API's names and defaults
        line: one result, as JSONL holds it; its first fields are `id` and `name`
        unit: what an item is
        chunk_size: default items in a chunk: a minute or less of work, so that a killed worker costs little
        batch: the parameter that says how many items the first model reads at once
        excerpt: what lists show of a line
        tuning: parameters that change how fast lines are made and not what is in them; a job may continue
            with others
        words: a page's words with their boxes, in reading order; none of a crop
        page_exports: formats that workers prepare page by page
        aliases: further names of parameters over HTTP
        unanswered: fields of a line that an answer over HTTP leaves out
        view_note: what a viewer must know of a job with these parameters; empty where there is nothing
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
    words: Callable[[Any], Iterable[WordBox]] = _no_words
    page_exports: tuple[str, ...] = ()
    aliases: Mapping[str, str] = field(default_factory=dict)
    unanswered: frozenset[str] = frozenset({"id", "label"})
    view_note: Callable[[Any], str] = _no_note

    def identity(self, parameters: Parameters) -> dict[str, Any]:
        """Return the parameters that decide what the lines hold."""
        return parameters.model_dump(mode="json", exclude=set(self.tuning))


def excerpt_of_words(words: Iterable[WordBox]) -> Excerpt:
    """Return the words of a page in their order, and their mean confidence."""
    read = list(words)
    confidences = [word.confidence for word in read if word.confidence is not None]
    return Excerpt(" ".join(word.value for word in read), fmean(confidences) if confidences else None)
