"""Step 4's first half: the file of each item of a chunk, and what an error of storage means for its chunk."""

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType

from contract.documents import HEAD_BYTES, Content, content_of, content_of_file, is_document
from contract.errors import (
    ErrorCode,
    FileUnavailableError,
    ItemError,
    StorageBusyError,
    StorageError,
    StorageUnavailableError,
)
from contract.records import Item
from contract.storage import Storage, answers
from contract.storage.plain_files import plain_files
from contract.storage.roots import AllowedRoots
from worker.images.decode import File, fetch
from worker.images.documents import DocumentFiles
from worker.images.shards import ShardFiles

STORAGE_ATTEMPTS = 3
"""Runs of a chunk in which storage may fail on a file before its item fails. Between two runs the reconciler
looks twice, and each S3 request has some ten seconds of retries."""


class ItemFiles:
    """The files of one chunk's items; copies of remote documents are removed at the end of its block.

    Thread-safe.

    Args:
        roots: the roots of the chunk's items
        pages: items are pages, not crops
        attempt: which run of the chunk this is, counted from 1
        max_bytes, max_document_bytes: maximum size of an image file, and of a document
        items: those of the chunk that lie in shards, to be read together
    """

    def __init__(
        self,
        storage: Storage,
        roots: AllowedRoots,
        *,
        pages: bool,
        attempt: int,
        max_bytes: int,
        max_document_bytes: int,
        items: Sequence[Item] = (),
    ) -> None:
        self._storage, self._roots, self._max_bytes = storage, roots, max_bytes
        self._pages, self._attempt = pages, attempt
        self._documents = DocumentFiles(storage, roots, max_document_bytes)
        self._shards = ShardFiles(items, storage, roots, max_bytes)

    def __enter__(self) -> "ItemFiles":
        self._documents.__enter__()
        return self

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        self._documents.__exit__(None, None, None)

    @property
    def roots(self) -> AllowedRoots:
        """The roots of the chunk's items."""
        return self._roots

    def __call__(self, item: Item) -> File:
        """Return the item's file.

        Raises:
            ItemError: the file is missing, denied, outside the roots, empty, or too large; or storage has
                failed on it in STORAGE_ATTEMPTS runs
            FileUnavailableError: storage fails on this file only; the chunk must be read again
            StorageUnavailableError: storage cannot be reached; the chunk must be retried
            CredentialsError: storage does not accept this worker's credentials
        """
        try:
            return self._file(item)
        except StorageUnavailableError:
            with self._bounded(item.uri):
                raise

    def plain(self, uris: Iterable[str]) -> Iterator[bytes | None]:
        """Yield crops' local files; None for one of which only a call for its item knows what it is."""
        return plain_files(map(self._presumed, uris), self._max_bytes)

    def _presumed(self, uri: str) -> str:
        """Return where a file is, as `AllowedRoots.presumed`; no path if that is not known."""
        try:
            return self._roots.presumed(uri) or ""
        except StorageError:
            return ""

    def _file(self, item: Item) -> File:
        pages = self._pages or item.region is not None
        if item.member is not None:
            return self._member(item) if pages else self._shards.read(item)
        if pages and self._is_document(item):
            return self._documents.path(item.uri)
        data = fetch(item.uri, self._storage, self._roots, self._max_bytes)
        # Its pages were not counted, and its name does not say that it has some.
        content = content_of(data[:HEAD_BYTES], item.uri) if pages else Content.IMAGE
        many = content is Content.PDF or (content is Content.TIFF and item.page)
        return self._documents.path(item.uri) if many else data

    def _member(self, item: Item) -> File:
        """Return a page that is a member of a shard; a document as a copy that its other pages share."""
        copy = self._documents.copy_of(item)
        if copy is not None:
            return copy
        data = self._shards.read(item)
        content = content_of(data[:HEAD_BYTES], item.name)
        many = content is Content.PDF or (content is Content.TIFF and (item.page or is_document(item.name)))
        return self._documents.kept(item, data) if many else data

    def _is_document(self, item: Item) -> bool:
        """Return whether an item is a page, or a document by its name whose pages could not be counted.

        Nobody has counted the pages of a region's file: it may be an image.
        """
        if item.region is None and item.page:
            return True
        if not is_document(item.uri):
            return False
        return content_of_file(self._documents.path(item.uri)) is not Content.IMAGE

    @contextlib.contextmanager
    def _bounded(self, uri: str) -> Iterator[None]:
        """End the runs that a single file costs its chunk, if storage fails on it and answers otherwise.

        Raises:
            ItemError: this is the last of STORAGE_ATTEMPTS runs
            FileUnavailableError: the chunk must be read again, and this run counts
            StorageUnavailableError: storage as a whole is away or overloaded
        """
        try:
            yield
        except StorageBusyError:
            raise
        except StorageUnavailableError as error:
            if not answers(self._storage.at(uri), uri):
                raise
            if self._attempt < STORAGE_ATTEMPTS:
                raise FileUnavailableError(f"{error} (run {self._attempt} of {STORAGE_ATTEMPTS})") from error
            raise ItemError(
                ErrorCode.STORAGE_FAILED,
                f"{error}, in {self._attempt} runs, while the storage answers: check the disk or the object",
            ) from error
