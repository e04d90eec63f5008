"""Bytes in and out of folders and S3 prefixes, behind one interface chosen by the URI.

A local URI is a plain path; anything else must be s3://bucket/key.
"""

import importlib.util
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Protocol, cast

from contract.errors import StorageUnavailableError, UnsupportedUriError
from contract.storage.local import LocalStore
from contract.storage.streams import TranslatedStream

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from contract.settings import Settings
    from contract.storage.fast_s3 import FastReader
    from contract.storage.s3 import OnS3, S3Store

COPY_BYTES = 1 << 22
"""Bytes copied at once."""


class Store(Protocol):
    """What a folder and an S3 bucket can both do.

    All raise ObjectMissingError, AccessDeniedError or StorageUnavailableError.
    """

    def read(self, uri: str, limit: int) -> bytes:
        """Return the whole object; raises TooManyBytesError if it is longer than `limit` bytes."""

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

    def sweep(self, folder: str) -> int:
        """Remove unfinished writes directly in the folder; return how many there were."""

    def size(self, uri: str) -> int:
        """Return the object's length in bytes."""

    def reader(self, uri: str, start: int = 0) -> AbstractContextManager[TranslatedStream]:
        """Open the object as a binary stream from a byte on, read line by line without holding it whole."""

    def writer(self, uri: str) -> AbstractContextManager[TranslatedStream]:
        """Open a binary stream that becomes the object at its end, or nothing if the block raises."""


class Storage:
    """The stores of one process; S3's client is made at its first use and shared by all threads.

    Args:
        settings: where S3 is, and how it is addressed
        on_s3: told of every request to S3
    """

    def __init__(self, settings: "Settings", on_s3: "OnS3 | None" = None) -> None:
        self._settings = settings
        self._on_s3 = on_s3
        self._local = LocalStore()
        self._s3: S3Store | None = None

    def at(self, uri: str) -> Store:
        """Return the store that holds the URI; raises UnsupportedUriError for other schemes."""
        if is_s3(uri):
            return self.s3
        if "://" in uri:
            raise UnsupportedUriError(f"{uri}: only local paths and s3:// URIs can be read")
        return self._local

    @property
    def s3(self) -> "S3Store":
        """The S3 store; boto3 is imported only by those who need it."""
        if self._s3 is None:
            from contract.storage.s3 import S3Store, make_client, observe

            client = make_client(self._settings)
            if self._on_s3:
                observe(client, self._on_s3)
            self._s3 = S3Store(client, fast_reader(client, self._on_s3))
        return self._s3


def fast_reader(client: "S3Client", on_s3: "OnS3 | None") -> "FastReader | None":
    """Return what reads objects faster than boto3, if the extra `s3-fast` is installed."""
    if importlib.util.find_spec("obstore") is None:
        return None
    from contract.storage.fast_s3 import FastReader

    return FastReader(client, on_s3)


def copy(store: Store, uri: str, target: Path) -> None:
    """Copy an object or a file into a file of this machine.

    Raises:
        StorageError: as `Store.reader`
        StorageUnavailableError: also where the target's folder has no room
    """
    with store.reader(uri) as source:
        try:
            with target.open("wb") as file:
                shutil.copyfileobj(cast("IO[bytes]", source), file, COPY_BYTES)
        except OSError as error:
            raise StorageUnavailableError(
                f"{target.parent} cannot hold a copy of {uri} ({error}): make room there, or set TMPDIR"
            ) from error


def is_s3(uri: str) -> bool:
    """Return whether the URI names an S3 object or prefix."""
    return uri.startswith("s3://")


def join(root: str, *parts: str) -> str:
    """Return the URI of something below a root."""
    return "/".join([root.rstrip("/") or "", *parts])
