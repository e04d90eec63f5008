"""The interface of storage backends, and code that they share."""

import contextlib
import io
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Literal, NamedTuple, Protocol, cast

from contract.errors import ObjectMissingError, StorageError, StorageUnavailableError, UnsupportedUriError
from contract.scratch import scratch_folder
from contract.storage.streams import TranslatedStream

if TYPE_CHECKING:
    from contract.settings import Settings

COPY_BYTES = 1 << 22
"""Buffer size in bytes for copies."""

OnRequest = Callable[[str, Literal["ok", "error", "retried"], int], None]
"""Called for each request to remote storage with its operation ("GetObject"), its outcome and its retries.
"retried" is a request that failed and is then made in another way; that one is reported too."""


class Version(NamedTuple):
    """What storage says about an object's content without reading it.

    Args:
        size: length in bytes
        modified: when it was written, in nanoseconds since 1970 by the storage's clock
        etag: the storage's own tag of the content; None if it has none
    """

    size: int
    modified: int
    etag: str | None = None


class Store(Protocol):
    """What every storage can do.

    All methods raise ObjectMissingError, AccessDeniedError or StorageUnavailableError.
    """

    def read(self, uri: str, limit: int) -> bytes:
        """Return the whole object; raises TooManyBytesError if it is longer than `limit` bytes."""

    def read_range(self, uri: str, start: int, length: int) -> bytes:
        """Return up to `length` bytes from byte `start`; fewer, or none, if the object ends before."""

    def replace(self, uri: str, data: bytes) -> None:
        """Write the object atomically, replacing an existing one."""

    def create(self, uri: str, data: bytes) -> bool:
        """Write the object unless it exists; return whether this call wrote it."""

    def exchange(self, uri: str, old: bytes, new: bytes) -> bool:
        """Replace the object if it still holds `old`; return whether this call did.

        Atomic on S3 with conditional PUTs, and between processes of one machine. Elsewhere the object is only
        compared right before it is replaced.
        """

    def delete(self, uri: str) -> None:
        """Remove the object if it exists."""

    def exists(self, uri: str) -> bool:
        """Return whether the object exists."""

    def names(self, folder: str) -> Iterator[str]:
        """Yield the names of the objects directly in the folder, in no particular order."""

    def objects(self, folder: str) -> Iterator[tuple[str, int]]:
        """Yield (URI, size in bytes) of every object below the folder, at any depth.

        Sorted by their URIs as UTF-8; nothing if the folder does not exist.
        """

    def versions(self, folder: str) -> Iterator[tuple[str, Version]]:
        """Yield (URI, version) of every object below the folder, in the order of `objects`, at its cost."""

    def version(self, uri: str) -> Version:
        """Return the version of the object, without reading it."""

    def sweep(self, folder: str, ours: Callable[[str], bool]) -> int:
        """Remove unfinished writes directly in the folder; return how many there were.

        Args:
            ours: whether a final name is that of a file of ours
        """

    def size(self, uri: str) -> int:
        """Return the object's length in bytes."""

    def reader(self, uri: str, start: int = 0) -> AbstractContextManager[TranslatedStream]:
        """Open the object as a binary stream from byte `start`, without holding it in memory."""

    def writer(self, uri: str) -> AbstractContextManager[TranslatedStream]:
        """Open a binary stream; the object appears when the block ends, or not at all if it raises."""

    def local_copy(self, uri: str) -> AbstractContextManager[Path]:
        """Provide the object as a local file whose name ends in the URI's extension.

        A local object is the file itself, checked to be readable; a remote one is a copy that is removed at
        the end.

        Raises:
            StorageUnavailableError: also if the folder for temporary files is full
        """


class Backend(Protocol):
    """One storage backend; a module of `contract.storage` holds it as `BACKEND`.

    The module's name is the scheme of its URIs ("s3" of s3://bucket/key). Only local paths have no scheme.
    """

    @property
    def remote(self) -> bool:
        """Whether an object must be copied to become a local file."""

    @property
    def read_only(self) -> bool:
        """Whether objects can be read by their names, and nothing else: not listed, and not written."""

    def absolute(self, uri: str) -> str:
        """Return the canonical form of a URI, independent of the working folder.

        Raises:
            UnsupportedUriError: the name is impossible
        """

    def store(self, settings: "Settings", on_request: OnRequest | None) -> Store:
        """Return a thread-safe store that calls `on_request` for every request."""


class BucketBackend:
    """What the backends of buckets have in common; each adds `store`."""

    remote = True
    read_only = False

    def absolute(self, uri: str) -> str:
        """Return the URI without trailing slashes; `..` has no meaning in a key."""
        return uri.rstrip("/")


def join(root: str, *parts: str) -> str:
    """Return the URI of something below a root."""
    return "/".join([root.rstrip("/") or "", *parts])


def split_bucket(uri: str) -> tuple[str, str]:
    """Return (bucket, key) of an object's URI; keys are not percent-decoded.

    Raises:
        UnsupportedUriError: it names no bucket
    """
    scheme, _, name = uri.partition("://")
    bucket, _, key = name.partition("/")
    if not bucket:
        raise UnsupportedUriError(f"{uri} names no bucket: write {scheme}://bucket/prefix/")
    return bucket, key


def finds(look: Callable[[], object]) -> bool:
    """Return whether looking at an object finds it; implements `Store.exists`."""
    try:
        look()
    except ObjectMissingError:
        return False
    return True


def answers(store: Store, uri: str) -> bool:
    """Return whether storage can list an object's folder, so that a failure to read is the object's own."""
    try:
        next(store.names(uri.rpartition("/")[0] or "/"), None)
    except StorageUnavailableError:
        return False
    except StorageError:
        return True
    return True


@contextlib.contextmanager
def temporary_copy(store: Store, uri: str, name: str | None = None) -> Iterator[Path]:
    """Copy a remote object into a local file; implements `Store.local_copy`.

    Args:
        name: what the extension is taken of; the URI by default
    """
    with contextlib.ExitStack() as stack:
        with store.reader(uri) as source:
            path = stack.enter_context(_temporary_file(cast("IO[bytes]", source), name or uri))
        yield path


@contextlib.contextmanager
def temporary_file(data: bytes, name: str) -> Iterator[Path]:
    """Provide bytes as a local file whose name ends in that of `name`; it is removed at the end.

    Raises:
        StorageUnavailableError: the folder for temporary files is full
    """
    with _temporary_file(io.BytesIO(data), name) as path:
        yield path


@contextlib.contextmanager
def _temporary_file(source: IO[bytes], name: str) -> Iterator[Path]:
    with contextlib.ExitStack() as stack:
        try:
            # Without links: none on a document's path is followed when it is opened.
            folder = stack.enter_context(scratch_folder())
            extension = os.path.splitext(name)[1]  # noqa: PTH122 - a URI is no path
            path = folder / f"copy{extension}"
            with path.open("wb") as file:
                shutil.copyfileobj(source, file, COPY_BYTES)
        except OSError as error:
            raise StorageUnavailableError(
                f"the folder for temporary files cannot hold a copy of {name} ({error}): free some space, "
                "or set TMPDIR to another folder"
            ) from error
        yield path
