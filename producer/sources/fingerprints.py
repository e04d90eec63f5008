"""Fingerprints of a source's files: what changes when their content does."""

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain, groupby, islice

import msgspec

from contract.errors import CredentialsError, SourceError, StorageError, StorageUnavailableError, UsageError
from contract.records import MAX_FINGERPRINT, Item
from contract.shards import SHARDS
from contract.source import Changed
from contract.storage import COPY_BYTES, Storage, Store, Version, absolute, is_remote
from contract.storage.roots import AllowedRoots

AHEAD = 32
"""Files asked about at once, to hide the latency of storage."""

MAX_TAG = MAX_FINGERPRINT - 21
"""Maximum characters of an ETag that are kept as they are: a size and its sign may follow."""

BLOCK = 1_024
"""Items for which a folder's links are resolved once."""


def default_changed(sources: Iterable[str]) -> Changed:
    """Return the fingerprint that costs least for sources."""
    return "etag" if all(map(is_remote, sources)) else "mtime+size"


def fingerprint_of(version: Version, changed: Changed) -> str | None:
    """Return the fingerprint in a version, which ends in the size; None if it has none of this kind."""
    if changed == "mtime+size":
        return f"{version.modified}+{version.size}"
    if changed == "sha256" or version.etag is None:
        return None
    tag = version.etag.strip('"')
    short = tag if 0 < len(tag) <= MAX_TAG else hashlib.sha256(tag.encode()).hexdigest()
    return f"{short}+{version.size}"


def size_in(fingerprint: str | None) -> int:
    """Return the size in bytes of the file that had a fingerprint; 0 without one."""
    return int(fingerprint.rpartition("+")[2]) if fingerprint else 0


def fingerprinted(
    items: Iterator[Item], changed: Changed, storage: Storage, roots: AllowedRoots | None
) -> Iterator[Item]:
    """Yield the items in their order, each with its fingerprint; a file that cannot be looked at has none.

    Args:
        roots: what files must lie below; None if all may be looked at

    Raises:
        UsageError: the storage has no fingerprint of this kind
        SourceError: storage does not accept our credentials
        StorageUnavailableError: storage is unavailable
    """
    with ThreadPoolExecutor(AHEAD, thread_name_prefix="fingerprint") as threads:
        while block := list(islice(items, BLOCK)):
            look = fingerprinter(changed, storage, roots.for_one_chunk() if roots else None)
            yield from _looked_at(block, look, threads, changed)


def _looked_at(
    items: list[Item], look: Callable[[Item], Item], threads: ThreadPoolExecutor, changed: Changed
) -> Iterator[Item]:
    pending: deque[tuple[Item, Future[Item] | Item]] = deque()
    # Regions of one page follow each other: their file is looked at once.
    for _, alike in groupby(items, lambda item: (item.uri, item.member, item.fingerprint)):
        first = next(alike)
        # The time and length of a local file are there sooner than another thread.
        slow = (is_remote(first.uri) or changed == "sha256") and first.member is None
        looked = threads.submit(look, first) if first.fingerprint is None and slow else look(first)
        for item in chain((first,), alike):
            pending.append((item, looked))
            if len(pending) > AHEAD:
                yield _result(*pending.popleft())
    for item, looked in pending:
        yield _result(item, looked)


def _result(item: Item, looked: "Future[Item] | Item") -> Item:
    found = looked.result() if isinstance(looked, Future) else looked
    return found if found.id == item.id else msgspec.structs.replace(item, fingerprint=found.fingerprint)


def fingerprinter(changed: Changed, storage: Storage, roots: AllowedRoots | None) -> Callable[[Item], Item]:
    """Return what gives an item its fingerprint; arguments and errors are those of `fingerprinted`."""

    def look(item: Item) -> Item:
        if item.fingerprint is not None:
            return item
        if item.member is not None:
            return _of_member(item, changed)
        if changed == "etag" and not is_remote(item.uri):
            raise UsageError(f"{item.uri} is a file of a folder, which has no etag: use mtime+size or sha256")
        try:
            location = roots.resolved(item.uri) if roots else absolute(item.uri)
            store = storage.at(location)
            found = (
                _sha256(store, location)
                if changed == "sha256"
                else fingerprint_of(store.version(location), changed)
            )
        except CredentialsError as error:
            raise SourceError(f"the source's files cannot be looked at: {error}") from error
        except StorageUnavailableError:
            raise
        except StorageError:
            # The worker says what is wrong with it.
            return item
        return msgspec.structs.replace(item, fingerprint=found)

    return look


def _of_member(item: Item, changed: Changed) -> Item:
    """Return a member of a shard with its shard's fingerprint and its place in it: together its content's."""
    assert item.member is not None
    if changed == "sha256":
        raise UsageError(f"{item.uri} is a shard, of which only etag or mtime+size are compared")
    if changed == "etag" and not is_remote(item.uri):
        raise UsageError(f"{item.uri} is a local file, which has no etag: use mtime+size")
    form, size = item.member.format, SHARDS[item.member.format].size(item.member)
    place = msgspec.json.encode((form, item.member.version, item.member.at, item.member.name))
    return msgspec.structs.replace(item, fingerprint=f"{hashlib.sha256(place).hexdigest()[:32]}+{size}")


def _sha256(store: Store, location: str) -> str:
    digest, size = hashlib.sha256(), 0
    with store.reader(location) as stream:
        while block := stream.read(COPY_BYTES):
            digest.update(block)
            size += len(block)
    return f"{digest.hexdigest()}+{size}"
