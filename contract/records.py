"""The records of a workspace besides its lines, and the queue messages, with their bounds.

msgspec instead of pydantic: records are read and written once per item, ten million times a night.
"""

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, TypeVar

import msgspec

from contract.errors import MessageError
from contract.job_status import FailedItem
from contract.kinds import KindName
from contract.lines import Failure
from contract.region import MAX_REGION_TEXT, Region

MAX_TEXT = 4096
"""Maximum characters in an id, a URI or a label; S3 keys have at most 1,024 bytes, POSIX paths 4,096."""

SHOWN = 200
"""Maximum characters of untrusted text that logs and statuses repeat."""

MAX_CHUNKS = 100_000_000
"""Maximum number of chunks in one job: 10¹¹ items at the default chunk size. Redis keeps a bit for each."""

MAX_NUDGED = 4096
"""Maximum uploads that one nudge may ask a worker to take at once: the largest batch size of all kinds."""

FIRST_ERRORS = 5
"""Failed items of one chunk that the ledger stores."""

MAX_PAGE_TEXT = 16
"""Maximum characters that the id of a document's page has more than the document's: "#page=100000" has 12."""

MAX_FINGERPRINT = 128
"""Maximum characters of a fingerprint; a SHA-256 has 64, and the ETags of all known storage are shorter."""

Text = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_TEXT)]
Label = Annotated[str, msgspec.Meta(max_length=MAX_TEXT)]


if TYPE_CHECKING:
    OptionalJson = msgspec.Raw | None
else:
    # msgspec decodes no union with Raw. What is not there is None all the same.
    OptionalJson = msgspec.Raw


class Member(msgspec.Struct, frozen=True, array_like=True, omit_defaults=True, gc=False):
    """Where an item's file lies within a shard, a file that holds many.

    `format` names a module of `contract.shards`, which says what the numbers of `at` are: for tar, the offset
    and the length in bytes. `name` is the member's name in the shard. `version` is the shard's, when the job
    was planned: a worker reads no other version.
    """

    format: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9_]{1,32}$")]
    name: Label
    at: tuple[Annotated[int, msgspec.Meta(ge=0)], ...]
    version: Annotated[str, msgspec.Meta(max_length=MAX_FINGERPRINT)] = ""


class Item(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One image to read: `id` is what users join on, `uri` is where its bytes are: in all, or in a `member`.

    `page` is the page of a document, counted from 1; `region` the part of the image or page that is read.
    `fingerprint` changes with the file's content; only jobs whose source asks for it have it. `reused` is the
    line, as JSON, that an earlier job has read of the same content: this one takes it over. `metadata` is a
    JSON object of the source's further columns, which the line repeats; sources give it as JSON text.
    """

    id: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_TEXT + MAX_PAGE_TEXT + MAX_REGION_TEXT)]
    uri: Text
    label: Label | None = None
    page: Annotated[int, msgspec.Meta(ge=1)] | None = None
    region: Region | None = None
    fingerprint: Annotated[str, msgspec.Meta(max_length=MAX_FINGERPRINT)] | None = None
    reused: str | None = None
    member: Member | None = None
    metadata: OptionalJson = None

    @property
    def name(self) -> str:
        """The name of its file without folders: `name` in the Trace OCR API."""
        file = self.uri if self.member is None else self.member.name or self.id
        return file.rpartition("/")[2]

    @property
    def address(self) -> str:
        """Where its file is, for people: of a member of a shard, `shard.tar#name`."""
        return self.uri if self.member is None else f"{self.uri}#{self.member.name}"


class PartOutcome(msgspec.Struct, frozen=True):
    """What a part contains: the number of results and of errors, the first few errors, and errors by code."""

    completed: int
    failed: int
    first_errors: tuple[FailedItem, ...] = ()
    codes: dict[str, int] = {}


class ChunkStatistics(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one chunk cost and which models read it; stored next to its part, for the summary.

    Seconds are summed over threads, so overlapping stages add up to more than `wall_seconds`.
    `fitting_batch_size` is set only if a batch did not fit into the device's memory: the samples that did.
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
    counts: dict[str, int] = {}
    begun_at: float | None = None
    ended_at: float | None = None


class ChunkMessage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A pointer to one chunk: the queue message of a job."""

    job: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")]
    workspace: Text
    chunk: Annotated[int, msgspec.Meta(ge=0, lt=MAX_CHUNKS)]


class Nudge(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A message that uploads of a kind wait; the worker takes `batch_size` of them at once."""

    kind: KindName
    batch_size: Annotated[int, msgspec.Meta(ge=1, le=MAX_NUDGED)]


class Outcome(msgspec.Struct, gc=False):
    """What every line of a part has: its item's id, and its failure if it is an error line."""

    id: str
    uri: str = ""
    error: Failure | None = None


class Rated(Outcome, gc=False):
    """The same, with the confidence of its least certain text, in 0..1."""

    confidence: float | None = None


class CropOutcome(Rated, gc=False):
    """The same of a crop's line, with its text."""

    value: str = ""


M = TypeVar("M", ChunkMessage, Nudge)


def decode_item(line: bytes) -> Item:
    """Return the item in one line of a chunk file; raises msgspec.DecodeError."""
    return _ITEMS.decode(line)


def failure_of(line: bytes) -> Failure | None:
    """Return the failure in a line of a part, or None for a result."""
    return _OUTCOMES.decode(line).error


def part_outcome(lines: Iterable[bytes], errors: int = FIRST_ERRORS) -> PartOutcome:
    """Return the counts of a part's lines, with its first few errors; raises as `failure_of`."""
    completed = 0
    codes: Counter[str] = Counter()
    first: list[FailedItem] = []
    for line in lines:
        outcome = _OUTCOMES.decode(line)
        if outcome.error is None:
            completed += 1
            continue
        codes[outcome.error.code.value] += 1
        if len(first) < errors:
            texts = (outcome.id, outcome.uri, outcome.error.code.value, outcome.error.message)
            first.append(FailedItem(*(text[:SHOWN] for text in texts)))
    return PartOutcome(completed, codes.total(), tuple(first), dict(codes))


def identity_of(line: bytes) -> str:
    """Return the id of the item in a line of a part."""
    return _OUTCOMES.decode(line).id


def parse_message(payload: object, kind: type[M]) -> M:
    """Return the message in the keyword arguments of a queue message.

    Raises:
        MessageError: the payload is no message of that type; it must not be run
    """
    try:
        return msgspec.convert(payload, kind)
    except msgspec.ValidationError as error:
        raise MessageError(
            f"the message is not a valid {kind.__name__} and was dropped: {str(error)[:SHOWN]}"
        ) from error


_ITEMS = msgspec.json.Decoder(Item)
_OUTCOMES = msgspec.json.Decoder(Outcome)
