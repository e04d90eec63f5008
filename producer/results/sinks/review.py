"""`review.jsonl`: the readings that people should look at, and why. They are in the results too."""

import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import msgspec
import re2

from contract.checks import Checks
from contract.errors import UsageError
from contract.job import Job
from contract.kinds import KINDS
from contract.lines import Geometry, encode_line
from contract.workspace import Workspace
from producer.results.checking import SUITED, check_suited
from producer.results.line_index import Marker, store_index
from producer.results.sinks.base import MergedLine, SinkContext, Write
from producer.results.validators import fits

MAX_WORDS = 100
"""Maximum words of a page in its line: a page with more is to be read as a whole."""

MAX_MATCHED = 4096
"""Maximum characters of a reading that is matched; a longer one does not fit."""

MAX_MEMORY = 8 << 20
"""Maximum bytes that a compiled expression may take."""


class Doubt(msgspec.Struct, frozen=True, omit_defaults=True):
    """A crop's reading, or a word of a page, that is in doubt."""

    value: str
    confidence: float | None
    reasons: tuple[str, ...]
    geometry: Geometry | None = None


class ReviewLine(msgspec.Struct, frozen=True, omit_defaults=True):
    """An item to look at: `reasons` are `confidence`, `expect` and `validators`; its line is in the results.

    `more` counts words in doubt beyond the first MAX_WORDS.
    """

    id: str
    name: str
    reasons: tuple[str, ...]
    doubts: tuple[Doubt, ...]
    page: int | None = None
    more: int = 0


class Review:
    """Writes the lines that do not meet the job's checks."""

    kinds = None

    def check(self, job: Job) -> None:
        """Raise UsageError if a check does not suit the job's kind, or its expression is none."""
        check_suited((name for name in SUITED if getattr(job.checks, name)), job.kind)
        if job.checks.expect:
            compiled(job.checks.expect)

    @contextlib.contextmanager
    def open(self, context: SinkContext) -> Iterator[Write]:
        """Yield a function that writes a line for each result in doubt."""
        workspace, totals, marker = context.workspace, context.totals, Marker()
        reviewed = reviewer(context.job)
        with workspace.store.writer(workspace.review) as target:

            def write(merged: MergedLine) -> None:
                line = None if merged.failure else reviewed(merged.line)
                if line:
                    data = encode_line(line)
                    target.write(data)
                    marker.add(len(data))
                    totals.reviewed += 1
                    totals.reasons.update(line.reasons)

            yield write
        store_index(workspace, workspace.review, marker.index())

    def paths(self, job: Job, workspace: Workspace) -> Iterator[str]:  # noqa: ARG002 - of the interface
        """Yield the URIs of the file and its index."""
        yield from (workspace.review, workspace.line_index(workspace.review))


SINK = Review()


def compiled(expression: str) -> Any:
    """Return a compiled expression, which takes linear time on every value (RE2).

    Raises:
        UsageError: it is none, or one that RE2 cannot match in linear time
    """
    options = re2.Options()
    options.log_errors, options.max_mem = False, MAX_MEMORY
    try:
        return re2.compile(expression, options)
    except (re2.error, UnicodeError) as error:
        reason = error.args[0].decode(errors="replace") if isinstance(error.args[0], bytes) else error.args[0]
        raise UsageError(
            f"expect {expression!r} is no regular expression of RE2 ({reason}): it has no backreferences and "
            "no look-around; see https://github.com/google/re2/wiki/Syntax"
        ) from error


def reviewer(job: Job) -> Callable[[bytes], ReviewLine | None]:
    """Return a function from a result's line to its line for review, or None if nothing is in doubt."""
    kind, checks = KINDS[job.kind], job.checks
    lines: msgspec.json.Decoder[Any] = msgspec.json.Decoder(kind.line)
    judge = partial(_reasons, checks, compiled(checks.expect).fullmatch if checks.expect else None)
    specification = getattr(job.parameters, "recognition_model", "")

    def of_crop(line: bytes) -> ReviewLine | None:
        read = lines.decode(line)
        reasons = judge(_threshold(checks, read.model, specification), read.value, read.confidence)
        if not reasons:
            return None
        return ReviewLine(read.id, read.name, reasons, (Doubt(read.value, read.confidence, reasons),))

    def of_page(line: bytes) -> ReviewLine | None:
        read, threshold = lines.decode(line), _threshold(checks, None, specification)
        words = [word for word in kind.words(read) if judge(threshold, word.value, word.confidence)]
        if not words:
            return None
        doubts = tuple(
            Doubt(word.value, word.confidence, ("confidence",), word.geometry) for word in words[:MAX_WORDS]
        )
        return ReviewLine(
            read.id, read.name, ("confidence",), doubts, read.page, max(0, len(words) - MAX_WORDS)
        )

    return of_crop if kind.reads == "value" else of_page


def _reasons(
    checks: Checks,
    match: Callable[[str], object] | None,
    threshold: float | None,
    value: str,
    confidence: float | None,
) -> tuple[str, ...]:
    doubtful = threshold is not None and confidence is not None and confidence < threshold
    unexpected = match is not None and (len(value) > MAX_MATCHED or not match(value))
    invalid = bool(checks.validators) and not fits(value, checks.validators)
    names = ("confidence", doubtful), ("expect", unexpected), ("validators", invalid)
    return tuple(name for name, wrong in names if wrong)


def _threshold(checks: Checks, model: str | None, specification: str) -> float | None:
    """Return the threshold of the model that read a line: the cascade's own, or that of its model."""
    thresholds = checks.min_confidence
    if not isinstance(thresholds, dict):
        return thresholds
    return thresholds.get(specification, thresholds.get(model or ""))
