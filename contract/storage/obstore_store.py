"""Google Cloud Storage and Azure Blob Storage through obstore, the Rust object_store: one store for both.

Why obstore, and what it does not do: docs/decisions/0025.
"""

import contextlib
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, TypeVar, cast

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError

from contract.errors import ObjectMissingError, TooManyBytesError
from contract.storage.asking import Asker
from contract.storage.base import OnRequest, Version, finds, temporary_copy
from contract.storage.obstore_clients import BucketClients
from contract.storage.obstore_errors import is_beyond, translated
from contract.storage.obstore_listing import ObstoreListing
from contract.storage.resumed import ResumedBody
from contract.storage.streams import TranslatedStream

T = TypeVar("T")

STREAM_BYTES = 1 << 20
"""Bytes of a stream that are asked for at once."""

PART_BYTES, PARTS_AT_ONCE = 32 << 20, 4
"""Bytes of one part of an upload: 10,000 parts, the limit of GCS, are 320 GB. And how many are in memory."""


class ObstoreStore:
    """A `contract.storage.Store` over the URIs of one scheme. A PUT and a completed upload are atomic.

    Args:
        clients: the clients of the scheme's buckets
        on_request: called for every request but those of listings and uploads; its operations begin with
            the scheme
        listers: pages of one listing asked for at once, at most
    """

    def __init__(self, clients: BucketClients, on_request: OnRequest | None = None, listers: int = 1) -> None:
        self._clients = clients
        self._listing = ObstoreListing(clients, listers)
        self._asker = Asker(clients.scheme, on_request)

    def read(self, uri: str, limit: int) -> bytes:
        """Return the whole object; a body cut off in transit is fetched again."""
        client, key = self._clients.for_object(uri)

        def get() -> bytes | None:
            answer = obstore.get(client, key)
            return bytes(answer.bytes()) if answer.meta["size"] <= limit else None

        data = self._ask("GetObject", uri, get)
        if data is None:
            raise TooManyBytesError(f"{uri} is larger than {limit:,} bytes")
        return data

    def read_range(self, uri: str, start: int, length: int) -> bytes:
        """Return up to `length` bytes from byte `start`, with a ranged GET."""
        client, key = self._clients.for_object(uri)
        # An empty range cannot be requested.
        asked = (start, start + max(length, 1))

        def get() -> bytes:
            with _nothing_beyond():
                return bytes(obstore.get(client, key, options={"range": asked}).bytes())
            return b""

        return self._ask("GetObject", uri, get)[:length]

    def replace(self, uri: str, data: bytes) -> None:
        """Write the object atomically."""
        self._put(uri, data, "overwrite")

    def create(self, uri: str, data: bytes) -> bool:
        """Write the object unless it exists: its generation must be 0 on GCS, If-None-Match: * on Azure."""
        return self._put(uri, data, "create")

    def exchange(self, uri: str, old: bytes, new: bytes) -> bool:
        """Replace the object if it still holds `old`: conditional on its generation or its etag."""
        # The tag first: an object that is replaced before it is read then has another one.
        found = self._head(uri)
        if self.read_range(uri, 0, len(old) + 1) != old:
            return False
        return self._put(uri, new, {name: found[name] for name in ("e_tag", "version") if found[name]})

    def delete(self, uri: str) -> None:
        """Remove the object if it exists."""
        client, key = self._clients.for_object(uri)
        with contextlib.suppress(ObjectMissingError):
            self._ask("DeleteObject", uri, lambda: obstore.delete(client, key))

    def exists(self, uri: str) -> bool:
        """Return whether the object exists."""
        return finds(lambda: self._head(uri))

    def size(self, uri: str) -> int:
        """Return the object's length in bytes."""
        return int(self._head(uri)["size"])

    def version(self, uri: str) -> Version:
        """Return the object's version, with a HEAD request."""
        return _version(self._head(uri))

    def names(self, folder: str) -> Iterator[str]:
        """Yield the names of the objects directly under the prefix."""
        return self._listing.names(folder)

    def objects(self, folder: str) -> Iterator[tuple[str, int]]:
        """Yield (URI, size in bytes) of every object under the prefix."""
        return ((uri, int(meta["size"])) for uri, meta in self._listing.objects(folder))

    def versions(self, folder: str) -> Iterator[tuple[str, Version]]:
        """Yield (URI, version) of every object under the prefix; listings hold all of it."""
        return ((uri, _version(meta)) for uri, meta in self._listing.objects(folder))

    def sweep(self, _folder: str, _ours: Callable[[str], bool]) -> int:
        """Do nothing: obstore cannot list unfinished uploads, and a rule of the bucket removes them."""
        return 0

    @contextlib.contextmanager
    def reader(self, uri: str, start: int = 0) -> Iterator[TranslatedStream]:
        """Open the object as a stream from byte `start`; after a cut, it goes on where it was."""
        body = ResumedBody(lambda position, tag: self._open(uri, position, tag), start)
        with io.BufferedReader(body, STREAM_BYTES) as stream:
            yield TranslatedStream(stream, lambda: translated(uri))

    @contextlib.contextmanager
    def writer(self, uri: str) -> Iterator[TranslatedStream]:
        """Open an upload in parts; obstore aborts it if the block raises, so that no object appears."""
        _, key = self._clients.for_object(uri)
        with translated(uri):
            client = self._clients.for_bucket(uri).patient
            stream = obstore.open_writer(client, key, buffer_size=PART_BYTES, max_concurrency=PARTS_AT_ONCE)
            stream.__enter__()
        try:
            yield TranslatedStream(cast("IO[bytes]", stream), lambda: translated(uri))
        except BaseException as error:
            with contextlib.suppress(BaseError, OSError):
                stream.__exit__(type(error), error, error.__traceback__)
            raise
        with translated(uri):
            stream.close()

    def local_copy(self, uri: str) -> contextlib.AbstractContextManager[Path]:
        """Copy the object into a local file that is removed at the end."""
        return temporary_copy(self, uri)

    def _put(self, uri: str, data: bytes, mode: Any) -> bool:
        """Write an object; return whether the condition of the mode held."""
        client, key = self._clients.for_object(uri)

        def put() -> bool:
            try:
                obstore.put(client, key, data, mode=mode, use_multipart=False)
            except (AlreadyExistsError, PreconditionError):
                if mode == "overwrite":
                    raise
                return False
            return True

        return self._ask("PutObject", uri, put)

    def _head(self, uri: str) -> dict[str, Any]:
        client, key = self._clients.for_object(uri)
        return self._ask("HeadObject", uri, lambda: cast("dict[str, Any]", obstore.head(client, key)))

    def _open(self, uri: str, position: int, tag: str | None) -> tuple[Iterator[bytes], str | None]:
        """Return the object's bytes from a position, and its etag.

        Args:
            tag: the etag that it must have
        """
        client, key = self._clients.for_object(uri)
        options: Any = {"range": {"offset": position}} if position else {}
        if tag:
            options["if_match"] = tag

        def get() -> tuple[Iterator[bytes], str | None]:
            with _nothing_beyond():
                answer = obstore.get(client, key, options=options)
                return self._blocks(uri, answer), answer.meta["e_tag"]
            return iter(()), tag

        return self._ask("GetObject", uri, get)

    def _blocks(self, uri: str, answer: Any) -> Iterator[bytes]:
        with translated(uri):
            for block in answer.stream(min_chunk_size=STREAM_BYTES):
                yield bytes(block)

    def _ask(self, operation: str, uri: str, request: Callable[[], T]) -> T:
        """Make a request until it is answered, and tell the observer about it."""

        def once() -> T:
            with translated(uri):
                return request()

        return self._asker.ask(operation, once)


@contextlib.contextmanager
def _nothing_beyond() -> Iterator[None]:
    """End the block, without an error, if the object ends before the range that was asked for."""
    try:
        yield
    except BaseError as error:
        if not is_beyond(error):
            raise


def _version(meta: Any) -> Version:
    """Return the version in an answer or in an entry of a listing.

    Times in answers have whole seconds, and Azure's listings have etags without quotes.
    """
    return Version(
        int(meta["size"]),
        int(meta["last_modified"].timestamp()) * 1_000_000_000,
        (meta["e_tag"] or "").strip('"') or None,
    )
