"""Objects on web servers: read by their names, and neither listed nor written."""

import contextlib
import io
from collections.abc import Callable, Iterator
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import NoReturn

from contract.errors import (
    ObjectMissingError,
    ReadOnlyStorageError,
    StorageRefusedError,
    StorageUnavailableError,
    TooManyBytesError,
)
from contract.storage.asking import Asker
from contract.storage.base import Version, finds, temporary_copy
from contract.storage.https_requests import BEYOND, Answer, Requests
from contract.storage.resumed import ResumedBody
from contract.storage.streams import TranslatedStream

STREAM_BYTES = 1 << 20
"""Buffer size in bytes of a stream."""

WITHOUT_HEAD = (405, 501)
"""How servers answer that they know no HEAD."""


class HttpsStore:
    """A `contract.storage.Store` over https:// URLs, all of whose writing methods raise ReadOnlyStorageError.

    Args:
        requests: makes one request
        asker: repeats and counts requests
    """

    def __init__(self, requests: Requests, asker: Asker) -> None:
        self._requests = requests
        self._asker = asker

    def read(self, uri: str, limit: int) -> bytes:
        """Return the whole object; a body cut off in transit is fetched again."""

        def get() -> bytes:
            with self._requests.answer(uri) as answer:
                data = _up_to(answer, limit + 1)
            if len(data) > limit:
                raise TooManyBytesError(f"{uri} is larger than {limit:,} bytes")
            return data

        return self._asker.ask("GetObject", get)

    def read_range(self, uri: str, start: int, length: int) -> bytes:
        """Return up to `length` bytes from byte `start`; a server without ranges sends those before too."""
        asked = f"bytes={start}-{start + max(length, 1) - 1}"

        def get() -> bytes:
            with self._requests.answer(uri, asked=asked, accept=(BEYOND,)) as answer:
                skipped = _skipped(uri, answer, start)
                return _up_to(answer, skipped + length)[skipped : skipped + length]

        return self._asker.ask("GetObject", get)

    def exists(self, uri: str) -> bool:
        """Return whether the object exists."""
        return finds(lambda: self._head(uri))

    def size(self, uri: str) -> int:
        """Return the object's length in bytes; raises StorageRefusedError if the server does not tell it."""
        return self.version(uri).size

    def version(self, uri: str) -> Version:
        """Return what the server says about the object; 0 as the time if it does not tell one."""
        answer = self._head(uri)
        if answer.length is None:
            raise StorageRefusedError(f"{uri}: the server does not tell how long it is")
        return Version(answer.length, _modified(answer), (answer.etag or "").strip('"') or None)

    def names(self, folder: str) -> Iterator[str]:
        """Raise StorageRefusedError, or StorageUnavailableError if the server is away."""
        with contextlib.suppress(ObjectMissingError, StorageRefusedError):
            self._head(folder)
        raise _unlisted(folder)

    def objects(self, folder: str) -> Iterator[tuple[str, int]]:
        """Raise StorageRefusedError: web servers list nothing."""
        raise _unlisted(folder)

    def versions(self, folder: str) -> Iterator[tuple[str, Version]]:
        """Raise StorageRefusedError: web servers list nothing."""
        raise _unlisted(folder)

    @contextlib.contextmanager
    def reader(self, uri: str, start: int = 0) -> Iterator[TranslatedStream]:
        """Open the object as a stream from byte `start`; after a cut, it goes on where it was."""
        body = ResumedBody(lambda position, tag: self._open(uri, position, tag), start)
        with io.BufferedReader(body, STREAM_BYTES) as stream:
            yield TranslatedStream(stream, contextlib.nullcontext)

    def local_copy(self, uri: str) -> contextlib.AbstractContextManager[Path]:
        """Copy the object into a local file that is removed at the end."""
        return temporary_copy(self, uri, uri.partition("?")[0])

    def replace(self, uri: str, _data: bytes) -> None:
        """Raise ReadOnlyStorageError."""
        _refuse(uri)

    def create(self, uri: str, _data: bytes) -> bool:
        """Raise ReadOnlyStorageError."""
        _refuse(uri)

    def exchange(self, uri: str, _old: bytes, _new: bytes) -> bool:
        """Raise ReadOnlyStorageError."""
        _refuse(uri)

    def delete(self, uri: str) -> None:
        """Raise ReadOnlyStorageError."""
        _refuse(uri)

    def writer(self, uri: str) -> contextlib.AbstractContextManager[TranslatedStream]:
        """Raise ReadOnlyStorageError."""
        _refuse(uri)

    def sweep(self, folder: str, _ours: Callable[[str], bool]) -> int:
        """Raise ReadOnlyStorageError."""
        _refuse(folder)

    def _head(self, uri: str) -> Answer:
        """Return an answer without its body: to a HEAD, or to a GET of servers that know none."""

        def head() -> Answer:
            with self._requests.answer(uri, "HEAD", accept=WITHOUT_HEAD) as answer:
                if answer.status not in WITHOUT_HEAD:
                    return answer
            with self._requests.answer(uri) as answer:
                return answer

        return self._asker.ask("HeadObject", head)

    def _open(self, uri: str, position: int, tag: str | None) -> tuple[Iterator[bytes], str | None]:
        """Return the object's bytes from a position, and its etag.

        Args:
            tag: the etag that it must have
        """

        def get() -> tuple[Iterator[bytes], str | None]:
            blocks = self._blocks(uri, position, tag)
            return blocks, next(blocks).decode("latin-1") or None

        return self._asker.ask("GetObject", get)

    def _blocks(self, uri: str, position: int, tag: str | None) -> Iterator[bytes]:
        """Yield the etag, empty if there is none, then the object's bytes from a position."""
        asked = f"bytes={position}-" if position else None
        with self._requests.answer(uri, asked=asked, accept=(BEYOND,)) as answer:
            if tag and answer.status != BEYOND and answer.etag != tag:
                raise StorageUnavailableError(f"{uri} was replaced while it was read")
            yield (answer.etag or "").encode("latin-1")
            skipped = _skipped(uri, answer, position)
            for block in answer.blocks if answer.status != BEYOND else ():
                yield block[skipped:]
                skipped = max(0, skipped - len(block))


def _up_to(answer: Answer, length: int) -> bytes:
    """Return the first bytes of a body; none if the range that was asked for lies beyond the object."""
    data = bytearray()
    if answer.status == BEYOND:
        return b""
    for block in answer.blocks:
        data += block
        if len(data) >= length:
            break
    return bytes(data[:length])


def _skipped(uri: str, answer: Answer, start: int) -> int:
    """Return how many bytes of the body come before those from `start`: all, of a server without ranges."""
    if answer.status == BEYOND:
        return 0
    told = answer.headers.get("content-range", "")
    if answer.status == 206 and not told.startswith(f"bytes {start}-"):
        raise StorageRefusedError(f"{uri}: the server sent another range than it was asked for")
    return 0 if answer.status == 206 else start


def _modified(answer: Answer) -> int:
    try:
        return int(parsedate_to_datetime(answer.headers["last-modified"]).timestamp()) * 1_000_000_000
    except (KeyError, ValueError, OverflowError):
        return 0


def _unlisted(folder: str) -> StorageRefusedError:
    return StorageRefusedError(f"{folder}: https:// cannot be listed: write a manifest of its URLs")


def _refuse(uri: str) -> NoReturn:
    raise ReadOnlyStorageError(f"{uri}: https:// can only be read")
