"""Tar files. An item's `at` is the offset and the length of its bytes; empty for a sparse file."""

import tarfile
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import IO, cast

from contract.errors import ItemError, SourceError
from contract.records import Member
from contract.shards.base import Entry, Shard, ShardOptions, member_error, too_large
from contract.shards.samples import Packed, entries_of
from contract.shards.spans import span_contents, span_groups
from contract.storage.read_ahead import ReadAheadFile

MAX_HEADER_BYTES = 1 << 18
"""Maximum bytes of one file's headers: a name, times and owners take a few hundred."""

SPARSE = "is a sparse file, which is not read: pack it without --sparse"


class Tar:
    """A `contract.shards.ShardFormat`."""

    extensions = (".tar",)

    def entries(self, shard: Shard, options: ShardOptions, passed_over: Counter[str]) -> Iterator[Entry]:
        """Yield the images among the files, as `contract.shards.samples` says; reads headers and labels."""
        file = ReadAheadFile(shard.store, shard.uri, shard.version.size)
        files = packed_files("tar", shard, cast("IO[bytes]", file), shard.version.size, passed_over)
        yield from entries_of(files, options, passed_over)

    def groups(self, members: Sequence[Member]) -> Iterator[Sequence[Member]]:
        """Yield members that lie side by side."""
        return span_groups(members, _span)

    def size(self, member: Member) -> int:
        """Return the length in the file's header."""
        return _span(member)[1]

    def contents(
        self, shard: Shard, members: Sequence[Member], max_bytes: int
    ) -> Iterator[bytes | ItemError]:
        """Yield the files."""

        def take(member: Member, data: bytes) -> bytes | ItemError:
            return data if len(data) == _span(member)[1] else member_error(shard, member, "is cut off")

        return span_contents(shard, members, _span, lambda member: refused(shard, member, max_bytes), take)


FORMAT = Tar()


def _span(member: Member) -> tuple[int, int]:
    return (member.at[0], member.at[1]) if member.at else (0, 0)


def refused(shard: Shard, member: Member, max_bytes: int) -> ItemError | None:
    """Return the error of a member that is not to be read."""
    if not member.at:
        return member_error(shard, member, SPARSE)
    return too_large(shard, member, max_bytes) if member.at[1] > max_bytes else None


def packed_files(
    form: str, shard: Shard, file: IO[bytes], most: int, passed_over: Counter[str]
) -> Iterator[Packed]:
    """Yield the regular files of an archive, reading each header once and holding one.

    Args:
        form: the name of the format
        file: the archive without compression; it is sought forward only
        most: bytes that the archive can have, without compression

    Raises:
        SourceError: it is no tar file, damaged, or cut off
    """
    headers = _Headers(file)
    try:
        archive = tarfile.TarFile(fileobj=cast("IO[bytes]", headers), encoding="utf-8")
        last = -1
        while (header := archive.next()) is not None:
            # Else the archive keeps all headers.
            archive.members = []  # type: ignore[attr-defined]
            end: int = archive.offset
            if header.size < 0 or not last < end <= most:
                raise tarfile.ReadError("unexpected end of data")
            last, headers.left = end, MAX_HEADER_BYTES
            reason = _reason_to_pass_over(header)
            if reason:
                passed_over[reason] += 1
            elif not header.isdir():
                yield _packed(form, header, file)
        _check_end(archive, file)
    except (tarfile.TarError, EOFError, ValueError, RecursionError) as error:
        raise SourceError(
            f"{shard.uri} is no tar file, or damaged at byte {file.tell():,} ({error}): was it cut off?"
        ) from error


class _Headers:
    """The file of an archive, of which one file's headers may read MAX_HEADER_BYTES.

    tarfile reads as many bytes as a header says that a name has.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self.left = file, MAX_HEADER_BYTES
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int = -1) -> bytes:
        self.left -= size
        if size < 0 or self.left < 0:
            raise tarfile.ReadError(f"the headers of a file have more than {MAX_HEADER_BYTES:,} bytes")
        return self._file.read(size)


def _packed(form: str, header: tarfile.TarInfo, file: IO[bytes]) -> Packed:
    def read() -> bytes:
        file.seek(header.offset_data)
        return file.read(header.size)

    at = () if header.issparse() else (header.offset_data, header.size)
    return Packed(header.name, header.size, Member(form, header.name[:1], at), read)


def _reason_to_pass_over(header: tarfile.TarInfo) -> str | None:
    if header.islnk() or header.issym():
        return "link"
    return None if header.isfile() or header.isdir() else "not_a_file"


def _check_end(archive: tarfile.TarFile, file: IO[bytes]) -> None:
    """Raise ReadError unless a block of zeros ends the archive: tarfile takes any damage for its end."""
    file.seek(archive.offset)
    if file.read(tarfile.BLOCKSIZE) != tarfile.NUL * tarfile.BLOCKSIZE:
        raise tarfile.ReadError("unexpected end of data")
