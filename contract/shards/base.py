"""The interface of formats of shards: list the members of one, and read some of them, both by ranges."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import msgspec

from contract.errors import ErrorCode, ItemError
from contract.images import IMAGE_EXTENSIONS
from contract.records import MAX_FINGERPRINT, Member
from contract.storage import Store, Version


@dataclass(frozen=True)
class Shard:
    """One shard in storage.

    Args:
        uri: its URI
        store: the store that holds it
        version: its version when it was opened
    """

    uri: str
    store: Store
    version: Version

    @cached_property
    def tag(self) -> str:
        """What its members have as `version`: the storage's tag of its content, or its time and size."""
        size, modified, etag = self.version
        return f"{modified}+{size}" if etag is None else etag.strip('"')[:MAX_FINGERPRINT]

    def read(self, start: int, length: int) -> bytes:
        """Return bytes of the shard: fewer than `length` if it ends before; raises as `Store.read_range`."""
        return self.store.read_range(self.uri, start, length)


@dataclass(frozen=True)
class ShardOptions:
    """How the members of shards become items.

    Args:
        image_column: the column of images; None to look for one
        id_column, label_column: columns of ids and labels; None for those that the format has
        extensions: of the names of images, in lower case, in formats whose members have names
    """

    image_column: str | None = None
    id_column: str | None = None
    label_column: str | None = None
    extensions: frozenset[str] = IMAGE_EXTENSIONS


class Entry(msgspec.Struct, frozen=True, gc=False):
    """One image of a shard: its id within the shard, its label, and its metadata as a JSON object."""

    id: str
    member: Member
    label: str | None = None
    metadata: msgspec.Raw | None = None


class ShardFormat(Protocol):
    """One format of shards; its module's name is the format in chunk files."""

    @property
    def extensions(self) -> tuple[str, ...]:
        """Extensions of its files' names, in lower case."""

    def entries(self, shard: Shard, options: ShardOptions, passed_over: Counter[str]) -> Iterator[Entry]:
        """Yield the shard's images, in order, in constant memory; reads no image where the format allows it.

        Args:
            passed_over: counts, by reason, what was seen and is no image

        Raises:
            SourceError: the shard is damaged as a whole, or lacks a column
            StorageError: the shard cannot be read
        """

    def groups(self, members: Sequence[Member]) -> Iterator[Sequence[Member]]:
        """Yield the members, in order, in groups: each is what one call of `contents` is to read.

        Several calls may run at once, for one shard too: a group is a few megabytes, or what can only be read
        as a whole.
        """

    def size(self, member: Member) -> int:
        """Return the bytes of a member's file; 0 if only reading it tells."""

    def contents(
        self, shard: Shard, members: Sequence[Member], max_bytes: int
    ) -> Iterator[bytes | ItemError]:
        """Yield the file of each member, in the order of `members`, which is that of the shard.

        Members side by side are read together. A member that cannot be read is yielded as its error; one
        longer than `max_bytes` is not read.

        Raises:
            StorageError: the shard cannot be read
        """


def too_large(shard: Shard, member: Member, max_bytes: int) -> ItemError:
    """Return the error of a member that is longer than `max_bytes`."""
    return ItemError(
        ErrorCode.TOO_MANY_BYTES,
        f"{member.name} in {shard.uri} is larger than {max_bytes:,} bytes: raise TRACE_OCR_MAX_BYTES if the "
        "file is meant to be that large",
    )


def member_error(shard: Shard, member: Member, what: str) -> ItemError:
    """Return the error of a member that is damaged."""
    return ItemError(ErrorCode.DAMAGED_SHARD, f"{member.name} in {shard.uri} {what}")
