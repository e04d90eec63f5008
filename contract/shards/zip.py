"""Zip files, stored or deflated. An item's `at` is the place of its local header, then the bytes that it has
packed, its method of compression, its flags, its CRC-32, and its bytes.

The central directory is read from start to end, and not held: zipfile makes an object of each of its files.
"""

import stat
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import IO, cast

from contract.errors import ErrorCode, ItemError, SourceError
from contract.records import SHOWN, Member
from contract.shards.base import Entry, Shard, ShardOptions, member_error, too_large
from contract.shards.samples import Packed, entries_of
from contract.shards.spans import span_contents, span_groups
from contract.shards.zip_directory import Listed, directory
from contract.storage.read_ahead import ReadAheadFile

LOCAL_HEADER, LOCAL_SIGNATURE = 30, b"PK\x03\x04"
"""Bytes of a local header before the file's name, and its beginning."""

MORE_BYTES = 512
"""Bytes of a local header beyond its name that are read at once: times, owners and large sizes."""

ENCRYPTED = 1
"""The flag of files with a password."""

UNIX = 3
"""The system whose files have types."""


class Zip:
    """A `contract.shards.ShardFormat`."""

    extensions = (".zip",)

    def entries(self, shard: Shard, options: ShardOptions, passed_over: Counter[str]) -> Iterator[Entry]:
        """Yield the images among the files, in the order of the directory; reads that and labels."""
        size = shard.version.size
        index = cast("IO[bytes]", ReadAheadFile(shard.store, shard.uri, size))
        bodies = cast("IO[bytes]", ReadAheadFile(shard.store, shard.uri, size))
        try:
            listed = _regular(directory(index, size), passed_over)
            files = (_packed(one, bodies, shard) for one in listed)
            yield from entries_of(files, options, passed_over)
        except zipfile.BadZipFile as error:
            raise SourceError(f"{shard.uri} is no zip file, or damaged: {error}") from error

    def groups(self, members: Sequence[Member]) -> Iterator[Sequence[Member]]:
        """Yield members that lie side by side."""
        return span_groups(members, _span)

    def size(self, member: Member) -> int:
        """Return the length in the directory."""
        return member.at[5]

    def contents(
        self, shard: Shard, members: Sequence[Member], max_bytes: int
    ) -> Iterator[bytes | ItemError]:
        """Yield the files."""

        def refused(member: Member) -> ItemError | None:
            _, packed, method, flags, _, size = member.at
            if flags & ENCRYPTED:
                said = f"{member.name} in {shard.uri} has a password: pack it without"
                return ItemError(ErrorCode.ENCRYPTED, said)
            if method not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                return member_error(shard, member, f"is packed by method {method}: pack it by deflate")
            return too_large(shard, member, max_bytes) if max(size, packed) > max_bytes else None

        def take(member: Member, data: bytes) -> bytes | ItemError:
            try:
                return _file(member.at, _body(member.at, data, shard))
            except zipfile.BadZipFile as error:
                return member_error(shard, member, f"is damaged: {error}")

        return span_contents(shard, members, _span, refused, take)


FORMAT = Zip()


def _span(member: Member) -> tuple[int, int]:
    return member.at[0], LOCAL_HEADER + len(member.name.encode()) + MORE_BYTES + member.at[1]


def _regular(files: Iterator[Listed], passed_over: Counter[str]) -> Iterator[Listed]:
    for file in files:
        mode = file.attributes >> 16 if file.system == UNIX else 0
        if stat.S_ISLNK(mode):
            passed_over["link"] += 1
        elif stat.S_IFMT(mode) and not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            passed_over["not_a_file"] += 1
        elif not file.name.endswith("/"):
            yield file


def _packed(file: Listed, bodies: IO[bytes], shard: Shard) -> Packed:
    at = (file.offset, file.packed, file.method, file.flags, file.crc, file.size)

    def read() -> bytes:
        bodies.seek(file.offset)
        try:
            bodies.seek(file.offset + _header_length(bodies.read(LOCAL_HEADER)))
            # No sound file is much longer packed than unpacked.
            return _file(at, bodies.read(min(file.packed, 2 * file.size + MORE_BYTES)))
        except zipfile.BadZipFile as error:
            raise member_error(shard, Member("zip", file.name[:SHOWN], at), f"is damaged: {error}") from error

    return Packed(file.name, file.size, Member("zip", file.name[:1], at), read)


def _body(at: tuple[int, ...], data: bytes, shard: Shard) -> bytes:
    """Return a file as it is packed, given its span, which may end early if its local header is long."""
    start = _header_length(data)
    body = data[start : start + at[1]]
    return body if len(body) == at[1] else shard.read(at[0] + start, at[1])


def _header_length(header: bytes) -> int:
    if len(header) < LOCAL_HEADER or not header.startswith(LOCAL_SIGNATURE):
        raise zipfile.BadZipFile("there is no file where the directory says")
    return LOCAL_HEADER + int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")


def _file(at: tuple[int, ...], body: bytes) -> bytes:
    """Return a file, given its bytes as they are packed; no more than its size says is unpacked."""
    _, packed, method, _, crc, size = at
    data = body
    if method == zipfile.ZIP_DEFLATED:
        try:
            data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(body, size + 1)
        except zlib.error as error:
            raise zipfile.BadZipFile(str(error)) from error
    if len(body) != packed or len(data) != size or zlib.crc32(data) != crc:
        raise zipfile.BadZipFile("its length or its checksum is wrong")
    return data
