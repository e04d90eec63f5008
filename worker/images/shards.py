"""The members of shards among a chunk's items: read together, group by group, and served one by one."""

import threading
from collections.abc import Iterator, Sequence

from contract.errors import ErrorCode, ItemError, JobError, StorageError
from contract.records import Item, Member
from contract.shards import SHARDS, Shard, ShardFormat
from contract.shards.reading import check_version
from contract.storage import Storage
from contract.storage.roots import AllowedRoots
from worker.images.decode import as_item_errors


class ShardFiles:
    """Reads the items of one chunk that lie in shards; thread-safe.

    A shard is opened once, and the members of each group are read by one call. The first thread that needs
    one of them reads, and the others wait for it. What is read ahead is a group's span, and the members that
    are not asked for yet.

    Args:
        items: the chunk's items, in order; those that are in no shard are left out
        roots: the roots of the chunk's items
        max_bytes: maximum size of a member
    """

    def __init__(self, items: Sequence[Item], storage: Storage, roots: AllowedRoots, max_bytes: int) -> None:
        members: dict[str, dict[Member, None]] = {}
        for item in items:
            if item.member is not None:
                members.setdefault(item.uri, {})[item.member] = None
        self._shards = {
            uri: _OpenShard(uri, tuple(some), storage, roots, max_bytes) for uri, some in members.items()
        }

    def read(self, item: Item) -> bytes:
        """Return the file of an item.

        Raises:
            ItemError: the shard is missing, denied, outside the roots, or another one than when the job was
                planned; or the member is damaged, empty or too large
            StorageUnavailableError: storage cannot be reached; the chunk must be retried
            CredentialsError: storage does not accept this worker's credentials
            JobError: shards of this format cannot be read here
        """
        assert item.member is not None
        with as_item_errors("TRACE_OCR_MAX_BYTES"):
            data = self._shards[item.uri].read(item, item.member)
        if not data:
            raise ItemError(ErrorCode.EMPTY_FILE, f"{item.address} has zero bytes: was it cut off?")
        return data


class _OpenShard:
    """One shard of a chunk, opened at the first use of one of its members; an error is kept as well."""

    def __init__(
        self, uri: str, members: Sequence[Member], storage: Storage, roots: AllowedRoots, max_bytes: int
    ) -> None:
        self._uri, self._members = uri, members
        self._storage, self._roots, self._max_bytes = storage, roots, max_bytes
        self._lock = threading.Lock()
        self._opened: Shard | StorageError | None = None
        self._groups: dict[Member, _Group] = {}

    def read(self, item: Item, member: Member) -> bytes:
        with self._lock:
            if self._opened is None:
                self._opened = self._open()
        if isinstance(self._opened, StorageError):
            raise self._opened
        check_version(item, self._opened)
        return self._groups[member].take(member)

    def _open(self) -> Shard | StorageError:
        try:
            location = self._roots.resolved(self._uri)
            store = self._storage.at(location)
            shard = Shard(location, store, store.version(location))
        except StorageError as error:
            return error
        for name in dict.fromkeys(member.format for member in self._members):
            form = _format(name)
            for group in form.groups([member for member in self._members if member.format == name]):
                reading = _Group(form, shard, group, self._max_bytes)
                self._groups.update((member, reading) for member in group)
        return shard


class _Group:
    """Members that are read by one call, each of which is usually taken once."""

    def __init__(self, form: ShardFormat, shard: Shard, members: Sequence[Member], max_bytes: int) -> None:
        self._form, self._shard, self._members, self._max_bytes = form, shard, members, max_bytes
        self._lock = threading.Lock()
        self._reading: Iterator[tuple[Member, bytes | ItemError]] | None = None
        self._read: dict[Member, bytes | ItemError] = {}
        self._taken: set[Member] = set()
        self._failure: StorageError | JobError | None = None

    def take(self, member: Member) -> bytes:
        """Return a member's file, and forget it: taken again, it is read again by itself."""
        with self._lock:
            file = self._again(member) if member in self._taken else self._next(member)
        if isinstance(file, ItemError):
            raise file
        return file

    def _next(self, member: Member) -> bytes | ItemError:
        while member not in self._read:
            if self._failure is not None:
                # One failed read says as much as one for each member, which would take hours.
                raise self._failure
            try:
                if self._reading is None:
                    contents = self._form.contents(self._shard, self._members, self._max_bytes)
                    self._reading = zip(self._members, contents, strict=True)
                found, file = next(self._reading)
            except (StorageError, JobError) as error:
                self._failure = error
                continue
            self._read[found] = file
        self._taken.add(member)
        return self._read.pop(member)

    def _again(self, member: Member) -> bytes | ItemError:
        return next(self._form.contents(self._shard, [member], self._max_bytes))


def _format(name: str) -> ShardFormat:
    try:
        return SHARDS[name]
    except KeyError:
        raise JobError(
            f"the items are in shards of the format {name!r}, which this version does not know: it knows "
            f"{', '.join(SHARDS)}"
        ) from None
