"""What every storage backend does, and what backends share."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Literal, Protocol, cast

from contract.errors import StorageUnavailableError
from contract.storage.streams import TranslatedStream

if TYPE_CHECKING:
    from contract.settings import Settings

COPY_BYTES = 1 << 22
"""Bytes copied at once."""

OnRequest = Callable[[str, Literal["ok", "error", "retried"], int], None]
"""Told of one request to remote storage: its operation ("GetObject"), its outcome, and its number of retries.
"retried" is a request that failed and is then made in another way, which is reported too."""


class Store(Protocol):
    """What every storage can do.

    All raise ObjectMissingError, AccessDeniedError or StorageUnavailableError.
    """

    def read(self, uri: str, limit: int) -> bytes:
        """Return the whole object; raises TooManyBytesError if it is longer than `limit` bytes."""

    def read_range(self, uri: str, start: int, length: int) -> bytes:
        """Return up to `length` bytes from byte `start` on: fewer, or none, where the object ends before."""

    def replace(self, uri: str, data: bytes) -> None:
        """Write the object whole or not at all, over whatever was there."""

    def create(self, uri: str, data: bytes) -> bool:
        """Write the object unless there is one; return whether this call wrote it."""

    def delete(self, uri: str) -> None:
        """Remove the object if it is there."""

    def exists(self, uri: str) -> bool:
        """Return whether there is an object."""

    def names(self, folder: str) -> Iterator[str]:
        """Yield the names of the objects directly in the folder, in no set order."""

    def objects(self, folder: str) -> Iterator[tuple[str, int]]:
        """Yield (URI, size in bytes) of every object below the folder, at any depth.

        In the order of their URIs as UTF-8; nothing for a folder that is not there.
        """

    def sweep(self, folder: str) -> int:
        """Remove unfinished writes directly in the folder; return how many there were."""

    def size(self, uri: str) -> int:
        """Return the object's length in bytes."""

    def reader(self, uri: str, start: int = 0) -> AbstractContextManager[TranslatedStream]:
        """Open the object as a binary stream from a byte on, read line by line without holding it whole."""

    def writer(self, uri: str) -> AbstractContextManager[TranslatedStream]:
        """Open a binary stream that becomes the object at its end, or nothing if the block raises."""

    def local_copy(self, uri: str) -> AbstractContextManager[Path]:
        """Hold the object as a file of this machine, whose name ends in the URI's extension.

        The file itself if it is local, checked to be readable; else a copy that is removed at the end.

        Raises:
            StorageUnavailableError: also where the folder for temporary files has no room
        """


class Backend(Protocol):
    """One kind of storage; a module of `contract.storage` holds it as `BACKEND`.

    The module's name is the scheme of its URIs ("s3" of s3://bucket/key). Local paths alone have no scheme.
    """

    @property
    def remote(self) -> bool:
        """Whether an object must be copied to be a file of this machine."""

    def absolute(self, uri: str) -> str:
        """Return the one way to write a URI, which is the same from every working folder.

        Raises:
            UnsupportedUriError: nothing can have that name
        """

    def store(self, settings: "Settings", on_request: OnRequest | None) -> Store:
        """Return a store for all threads of a process, which tells `on_request` of every request."""


def join(root: str, *parts: str) -> str:
    """Return the URI of something below a root."""
    return "/".join([root.rstrip("/") or "", *parts])


@contextlib.contextmanager
def temporary_copy(store: Store, uri: str) -> Iterator[Path]:
    """Copy a remote object into a file of this machine; a `Store.local_copy`."""
    with contextlib.ExitStack() as stack:
        with store.reader(uri) as source:
            try:
                folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="trace-ocr-"))
                path = Path(folder, f"copy{os.path.splitext(uri)[1]}")  # noqa: PTH122 - a URI is no path
                with path.open("wb") as file:
                    shutil.copyfileobj(cast("IO[bytes]", source), file, COPY_BYTES)
            except OSError as error:
                raise StorageUnavailableError(
                    f"the folder for temporary files cannot hold a copy of {uri} ({error}): make room there, "
                    "or set TMPDIR to another"
                ) from error
        yield path
