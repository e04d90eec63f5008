"""Read one item's file, whether it is a file of its own or a member of a shard."""

from contract.errors import ErrorCode, ItemError, StorageRefusedError
from contract.records import Item
from contract.shards import SHARDS, Shard
from contract.storage import Storage, absolute
from contract.storage.roots import AllowedRoots


def file_of(item: Item, storage: Storage, roots: AllowedRoots | None, max_bytes: int) -> bytes:
    """Return the bytes of an item's file.

    Args:
        roots: the roots of the job's items; None if all that the user may read is allowed

    Raises:
        StorageError: the file is outside the roots, is too large, or cannot be read
        ItemError: the member is damaged or too large, or its shard has changed
    """
    location = roots.resolved(item.uri) if roots else absolute(item.uri)
    store, member = storage.at(location), item.member
    if member is None:
        return store.read(location, max_bytes)
    if member.format not in SHARDS:
        raise StorageRefusedError(f"{item.uri} is of a format that this version does not know")
    shard = Shard(location, store, store.version(location))
    check_version(item, shard)
    (file,) = SHARDS[member.format].contents(shard, [member], max_bytes)
    if isinstance(file, ItemError):
        raise file
    return file


def check_version(item: Item, shard: Shard) -> None:
    """Raise ItemError if a shard is another one than the item's: another image may be in the place."""
    assert item.member is not None
    if item.member.version != shard.tag:
        raise ItemError(
            ErrorCode.SOURCE_CHANGED,
            f"{item.uri} is another one than when the job was planned: submit its source into a new "
            "workspace",
        )
