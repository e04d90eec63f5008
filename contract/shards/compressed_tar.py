"""Compressed tar files, which are read from their start. An item's `at` is as in tar, in what is unpacked."""

import bz2
import gzip
import lzma
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import IO, cast

from contract.errors import ItemError, SourceError
from contract.records import Member
from contract.shards.base import Entry, Shard, ShardOptions, member_error
from contract.shards.samples import entries_of
from contract.shards.tar import packed_files, refused
from contract.storage.read_ahead import ReadAheadFile

MAX_RATIO = 200
"""Maximum bytes that one compressed byte stands for: images compress little, and bombs a thousandfold."""

DAMAGED = (EOFError, OSError, zlib.error, lzma.LZMAError)
"""What the decompressors raise for damaged data."""

_OPENERS: dict[str, Callable[..., object]] = {
    ".gz": gzip.open,
    ".tgz": gzip.open,
    ".bz2": bz2.open,
    ".tbz2": bz2.open,
    ".xz": lzma.open,
    ".txz": lzma.open,
}


class CompressedTar:
    """A `contract.shards.ShardFormat`."""

    extensions = (".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst")

    def entries(self, shard: Shard, options: ShardOptions, passed_over: Counter[str]) -> Iterator[Entry]:
        """Yield the images among the files, as `contract.shards.samples` says; unpacks all of it."""
        most = shard.version.size * MAX_RATIO
        try:
            with _unpacked(shard) as file:
                files = packed_files("compressed_tar", shard, file, most, passed_over)
                yield from entries_of(files, options, passed_over)
        except DAMAGED as error:
            raise SourceError(f"{shard.uri} is damaged ({error}): was it cut off?") from error

    def groups(self, members: Sequence[Member]) -> Iterator[Sequence[Member]]:
        """Yield all members: each further reading would begin at the start."""
        yield members

    def size(self, member: Member) -> int:
        """Return the length in the file's header."""
        return member.at[1] if member.at else 0

    def contents(
        self, shard: Shard, members: Sequence[Member], max_bytes: int
    ) -> Iterator[bytes | ItemError]:
        """Yield the files; unpacks what is before the last of them."""
        with _unpacked(shard) as file:
            for member in members:
                error = refused(shard, member, max_bytes)
                if error is not None:
                    yield error
                    continue
                offset, length = member.at
                try:
                    file.seek(offset)
                    data = file.read(length)
                except DAMAGED as failure:
                    yield member_error(shard, member, f"cannot be unpacked ({failure})")
                    continue
                yield data if len(data) == length else member_error(shard, member, "is cut off")


FORMAT = CompressedTar()


def _unpacked(shard: Shard) -> IO[bytes]:
    """Open the archive without its compression; raises SourceError if there is no decompressor for it."""
    extension = "." + shard.uri.lower().rpartition(".")[2]
    if extension not in _OPENERS:
        raise SourceError(f"{shard.uri}: zstd is not unpacked: pack it with gzip, or without compression")
    file = ReadAheadFile(shard.store, shard.uri, shard.version.size)
    return cast("IO[bytes]", _OPENERS[extension](file, "rb"))
