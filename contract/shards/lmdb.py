"""LMDB as the field of scene text publishes it: keys `num-samples`, `image-000000001`, `label-000000001`.

Local files only: LMDB maps a file into memory. A damaged one ends the process that reads it, which is
therefore a child process. An item's `at` is (number of the image, length in bytes).
"""

import contextlib
from collections import Counter
from collections.abc import Iterator, Sequence

import msgspec

from contract.child_processes import ChildProcess
from contract.errors import (
    ChildCrashedError,
    ChildTimedOutError,
    ErrorCode,
    ItemError,
    JobError,
    SourceError,
    TraceOcrError,
)
from contract.extras import require
from contract.lmdb_reading import Reply, Request, Row, image_key
from contract.records import MAX_TEXT, Member
from contract.shards.base import Entry, Shard, ShardOptions, member_error, too_large
from contract.storage import is_remote

GROUP_BYTES = 64 << 20
"""Bytes of images that one process reads: starting one takes as long as reading some thousands."""

BATCH_BYTES = 4 << 20
"""Bytes of images that the process is asked for at once."""

ROWS_BYTES = 8 << 20
"""Maximum bytes of the rows of one answer as JSON; the process sends up to some 1 MiB of labels."""

MAX_MEMORY = 1 << 30
"""Memory limit of the process in bytes, besides the file, which is mapped, and the largest image."""

SECONDS = 60.0
"""Limit of one answer, as `TimeLimit`: some megabytes from a slow disk."""

MAX_CRASHES = 8
"""Images of a group that may end the process; after these, the rest of the group counts as damaged."""

_CRASHED = (ChildCrashedError, ChildTimedOutError, msgspec.MsgspecError)


class Lmdb:
    """A `contract.shards.ShardFormat`."""

    extensions = (".mdb", ".lmdb")

    def entries(self, shard: Shard, _options: ShardOptions, passed_over: Counter[str]) -> Iterator[Entry]:
        """Yield the images in the order of their numbers; numbers without an image are passed over."""
        found = 0
        first: int | None = 1
        try:
            with _opened(shard, SourceError, ROWS_BYTES) as (child, path):
                while first is not None:
                    reply, data = child.ask(Request(path, first, MAX_TEXT), Reply, SECONDS)
                    if reply.fault:
                        raise SourceError(f"{shard.uri} {reply.fault}")
                    rows = msgspec.json.decode(data, type=list[Row])
                    yield from (_entry(shard, row) for row in rows)
                    found += len(rows)
                    if reply.following is not None and reply.following <= first:
                        raise ChildCrashedError("goes in circles")
                    first = reply.following
        except _CRASHED as error:
            raise SourceError(
                f"{shard.uri} is damaged or cut off (reading its keys {error}): copy it again"
            ) from error
        missing = reply.samples - found
        if missing > 0:
            passed_over["missing_image"] += missing

    def groups(self, members: Sequence[Member]) -> Iterator[Sequence[Member]]:
        """Yield the members by what one process reads."""
        return _batches(members, GROUP_BYTES)

    def size(self, member: Member) -> int:
        """Return the length of an image in bytes."""
        return member.at[1]

    def contents(
        self, shard: Shard, members: Sequence[Member], max_bytes: int
    ) -> Iterator[bytes | ItemError]:
        """Yield the images.

        Raises:
            JobError: lmdb is not installed
        """
        with _opened(shard, JobError, BATCH_BYTES + max_bytes) as (child, path):
            images = _Images(shard, child, path, max_bytes)
            for batch in _batches(members, BATCH_BYTES):
                yield from images.read(batch)


FORMAT = Lmdb()


class _Images:
    """Reads images by a child process, one by one where several together end it."""

    def __init__(self, shard: Shard, child: ChildProcess, path: str, max_bytes: int) -> None:
        self._shard, self._child, self._path, self._max_bytes = shard, child, path, max_bytes
        self._crashes = 0

    def read(self, members: Sequence[Member]) -> Iterator[bytes | ItemError]:
        """Yield the image of each member, or its error."""
        fitting = [member for member in members if member.at[1] <= self._max_bytes]
        try:
            found = iter(self._asked(fitting))
        except _CRASHED:
            found = iter([self._alone(member) for member in fitting])
        for member in members:
            fits = member.at[1] <= self._max_bytes
            yield next(found) if fits else too_large(self._shard, member, self._max_bytes)

    def _alone(self, member: Member) -> bytes | ItemError:
        what = "the images before it ended the process that reads them"
        if self._crashes < MAX_CRASHES:
            try:
                return self._asked([member])[0]
            except _CRASHED as error:
                self._crashes += 1
                what = str(error)
        return member_error(self._shard, member, f"cannot be read ({what}): copy the file again")

    def _asked(self, members: Sequence[Member]) -> list[bytes | ItemError]:
        """Return the images of some members; raises one of `_CRASHED`."""
        if not members:
            return []
        numbers = tuple(member.at[0] for member in members)
        reply, data = self._child.ask(Request(self._path, numbers=numbers), Reply, SECONDS)
        if reply.fault:
            return [
                member_error(self._shard, member, f"cannot be read: the file {reply.fault}")
                for member in members
            ]
        if len(reply.lengths) != len(members) or sum(filter(None, reply.lengths)) != len(data):
            raise ChildCrashedError("gave an invalid answer")
        images: list[bytes | ItemError] = []
        start = 0
        for member, length in zip(members, reply.lengths, strict=True):
            if length is None:
                images.append(_missing(self._shard, member))
                continue
            images.append(bytes(data[start : start + length]))
            start += length
        return images


@contextlib.contextmanager
def _opened(shard: Shard, missing: type[TraceOcrError], max_reply: int) -> Iterator[tuple[ChildProcess, str]]:
    """Yield a process that reads LMDB, and the file's path.

    Raises:
        TraceOcrError: of the type `missing`, if lmdb is not installed, or the file is not local
        StorageError: the file cannot be read
    """
    require("lmdb", "lmdb", "LMDB shards", missing)
    if is_remote(shard.uri):
        raise missing(f"{shard.uri}: LMDB can only be read from local files: copy it to a disk or a mount")
    child = ChildProcess("contract.lmdb_reading", MAX_MEMORY + max_reply, max_reply=max_reply)
    with shard.store.local_copy(shard.uri) as path, contextlib.closing(child):
        yield child, str(path)


def _entry(shard: Shard, row: Row) -> Entry:
    if len(row.label or "") > MAX_TEXT:
        raise ChildCrashedError("gave an invalid answer")
    name = image_key(row.number).decode()
    return Entry(name, Member("lmdb", name, (row.number, row.length), shard.tag), row.label)


def _batches(members: Sequence[Member], size: int) -> Iterator[list[Member]]:
    """Yield members in lists of up to `size` bytes of images, or of one image."""
    batch: list[Member] = []
    held = 0
    for member in members:
        if batch and held + member.at[1] > size:
            yield batch
            batch, held = [], 0
        batch.append(member)
        held += member.at[1]
    if batch:
        yield batch


def _missing(shard: Shard, member: Member) -> ItemError:
    return ItemError(ErrorCode.NOT_FOUND, f"there is no {member.name} in {shard.uri}")
