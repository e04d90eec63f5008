"""The records of a workspace besides its lines, and the messages of the queue, with their bounds.

msgspec rather than pydantic: these are read and written once per item, ten million times a night.
"""

from collections.abc import Iterable
from typing import Annotated, TypeVar

import msgspec

from contract.errors import MessageError
from contract.job_status import FailedItem
from contract.kinds import KindName
from contract.lines import Failure

MAX_TEXT = 4096
"""Characters in an id, a URI or a label; S3 keys end at 1,024 bytes, POSIX paths at 4,096."""

SHOWN = 200
"""Characters of a stranger's text that logs and statuses repeat."""

MAX_NUDGED = 4096
"""Uploads that one message may have taken at once: the largest batch of any kind."""

FIRST_ERRORS = 5
"""Failed items of one chunk that the ledger is told of."""

Text = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_TEXT)]
Label = Annotated[str, msgspec.Meta(max_length=MAX_TEXT)]


class Item(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One image to read, as planned: `id` is what users join on, `uri` is where its bytes are.

    `page`, counted from 1, names one page of a document.
    """

    id: Text
    uri: Text
    label: Label | None = None
    page: Annotated[int, msgspec.Meta(ge=1)] | None = None


class PartOutcome(msgspec.Struct, frozen=True):
    """What a part holds: how many results, how many errors, and the first few of those."""

    completed: int
    failed: int
    first_errors: tuple[FailedItem, ...] = ()


class ChunkStatistics(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one chunk cost and which models read it; next to its part, for the summary.

    Seconds are summed over threads, so stages that overlap add up to more than `wall_seconds`.
    `fitting_batch_size` is there only if the device's memory did not hold a batch: the crops read at once.
    `begun_at` and `ended_at` are Unix seconds by the worker's clock, when its models were loaded and when its
    part was written; older statistics lack them.
    """

    completed: int
    failed: int
    wall_seconds: float
    stage_seconds: dict[str, float]
    batches: int
    batch_fill: float
    models: tuple[dict[str, str], ...] = ()
    worker: str = ""
    notes: int = 0
    fitting_batch_size: int | None = None
    begun_at: float | None = None
    ended_at: float | None = None


class ChunkMessage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A pointer to one chunk: all that ever travels through the queue."""

    job: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")]
    workspace: Text
    chunk: Annotated[int, msgspec.Meta(ge=0, lt=1_000_000)]


class Nudge(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A message that uploads of a kind wait; `batch_size` is how many are taken at once."""

    kind: KindName
    batch_size: Annotated[int, msgspec.Meta(ge=1, le=MAX_NUDGED)]


class _Outcome(msgspec.Struct):
    id: str
    uri: str = ""
    error: Failure | None = None


M = TypeVar("M", ChunkMessage, Nudge)


def decode_item(line: bytes) -> Item:
    """Return the item of one line of a chunk file; raises msgspec.DecodeError."""
    return _ITEMS.decode(line)


def failure_of(line: bytes) -> Failure | None:
    """Return the failure that a line of a part holds, or None for a result."""
    return _OUTCOMES.decode(line).error


def part_outcome(lines: Iterable[bytes], errors: int = FIRST_ERRORS) -> PartOutcome:
    """Return what the lines of a part come to, with its first few errors; raises as `failure_of`."""
    completed = failed = 0
    first: list[FailedItem] = []
    for line in lines:
        outcome = _OUTCOMES.decode(line)
        if outcome.error is None:
            completed += 1
            continue
        failed += 1
        if len(first) < errors:
            texts = (outcome.id, outcome.uri, outcome.error.code.value, outcome.error.message)
            first.append(FailedItem(*(text[:SHOWN] for text in texts)))
    return PartOutcome(completed, failed, tuple(first))


def identity_of(line: bytes) -> str:
    """Return the item's id that a line of a part is about."""
    return _OUTCOMES.decode(line).id


def parse_message(payload: object, kind: type[M]) -> M:
    """Return what a queue message's keyword arguments say.

    Raises:
        MessageError: the payload is no message of that kind; it must not be run
    """
    try:
        return msgspec.convert(payload, kind)
    except msgspec.ValidationError as error:
        raise MessageError(
            f"the message is no {kind.__name__} and was dropped: {str(error)[:SHOWN]}"
        ) from error


_ITEMS = msgspec.json.Decoder(Item)
_OUTCOMES = msgspec.json.Decoder(_Outcome)
