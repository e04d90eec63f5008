"""The bytes of a manifest: unpacked if they are gzip, and an error of the source if they cannot be read."""

import contextlib
import gzip
import zlib
from collections.abc import Iterator
from typing import IO, Protocol, cast

from contract.errors import SourceError, StorageError, StorageUnavailableError
from contract.storage import Store, answers

GZIP = b"\x1f\x8b"

OTHERS = {
    b"PK\x03\x04": "a ZIP archive",
    b"BZh": "packed by bzip2",
    b"\xfd7zXZ\0": "packed by xz",
    b"\x28\xb5\x2f\xfd": "packed by zstd",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
}
"""First bytes of what is taken for a manifest most often, and what it is. A manifest is UTF-8."""

HEAD_BYTES = max(map(len, OTHERS))

MAX_RATIO = 200
"""Maximum size of a manifest over its packed size. Lists of paths reach 50; a bomb reaches 1,000."""

FREE_BYTES = 64 << 20
"""Bytes that any packed manifest may have."""


class Readable(Protocol):
    """What a manifest is read from."""

    def read(self, size: int = -1, /) -> bytes: ...


@contextlib.contextmanager
def unpacked(name: str, stream: Readable) -> Iterator[Readable]:
    """Yield a manifest's bytes as a stream that holds a few kilobytes in memory.

    Args:
        name: of the manifest, for messages

    Raises (also while reading):
        SourceError: the manifest is of another format, damaged, cut off, or expands too far
    """
    head = stream.read(HEAD_BYTES)
    for signature, kind in OTHERS.items():
        if head.startswith(signature):
            raise SourceError(
                f"{name} is {kind}: a manifest is JSONL or CSV in UTF-8, plain or packed by gzip"
            )
    whole = _Resumed(head, stream)
    if not head.startswith(GZIP):
        yield whole
        return
    with gzip.GzipFile(fileobj=cast("IO[bytes]", whole), mode="rb") as file:
        yield _Unpacked(name, whole, file)


class SourceStream:
    """A manifest in storage, whose errors are the source's unless storage as a whole is away."""

    def __init__(self, uri: str, store: Store, stream: Readable) -> None:
        self._uri, self._store, self._stream = uri, store, stream

    def read(self, size: int = -1, /) -> bytes:
        """Return up to `size` bytes.

        Raises:
            SourceError: the manifest cannot be read
            StorageUnavailableError: storage is away, so reading it again may help
        """
        try:
            return self._stream.read(size)
        except StorageError as error:
            if isinstance(error, StorageUnavailableError) and not answers(self._store, self._uri):
                raise
            raise SourceError(f"the manifest cannot be read to its end: {error}") from error


class _Resumed:
    """A stream of which some bytes are read already; counts its bytes."""

    def __init__(self, head: bytes, stream: Readable) -> None:
        self._head, self._stream = head, stream
        self.count = 0

    def read(self, size: int = -1, /) -> bytes:
        if self._head:
            whole = len(self._head) if size < 0 else size
            data, self._head = self._head[:whole], self._head[whole:]
        else:
            data = self._stream.read(size)
        self.count += len(data)
        return data


class _Unpacked:
    def __init__(self, name: str, packed: _Resumed, file: gzip.GzipFile) -> None:
        self._name, self._packed, self._file = name, packed, file
        self._count = 0

    def read(self, size: int = -1, /) -> bytes:
        try:
            data = self._file.read(size)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise SourceError(f"{self._name} is cut off or damaged ({error}): upload it again") from error
        self._count += len(data)
        if self._count > max(FREE_BYTES, MAX_RATIO * self._packed.count):
            raise SourceError(
                f"{self._name} unpacks to more than {MAX_RATIO} times its size: it is no manifest"
            )
        return data
