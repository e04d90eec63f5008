"""Listings of buckets through obstore, in the order of their keys: page by page, or many pages at once."""

import contextlib
from collections.abc import Generator, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import obstore

from contract.errors import StorageRefusedError
from contract.storage.key_ranges import Page
from contract.storage.listing import in_order_of_utf8
from contract.storage.obstore_clients import BucketClients
from contract.storage.obstore_errors import translated
from contract.storage.parallel_listing import Fetch, listed_in_parallel

if TYPE_CHECKING:
    from obstore.store import ObjectStore

PAGE = 1_000
"""Objects that are handed over at once: those of one page of Google Cloud Storage."""

Listed = tuple[str, Any]
"""A key, and what obstore says about its object."""


class ObstoreListing:
    """Lists the prefixes of one scheme's buckets.

    Args:
        clients: the clients of the buckets
        listers: pages of one listing asked for at once, at most; with 1, storage need not know how to list
            behind a key, nor list in order
    """

    def __init__(self, clients: BucketClients, listers: int) -> None:
        self._clients, self._listers = clients, listers

    def objects(self, folder: str) -> Iterator[Listed]:
        """Yield (URI, what obstore says) of every object below a folder, in the order of UTF-8.

        Raises:
            StorageRefusedError: a name cannot be listed, or names come in another order than that of UTF-8
        """
        return in_order_of_utf8(self._below(folder), folder)

    def names(self, folder: str) -> Iterator[str]:
        """Yield the names of the objects directly in a folder.

        They are listed page by page; once it shows that there are folders below too, all at once without
        what is in those.
        """
        base = folder.rstrip("/") + "/"
        seen: set[str] = set()
        with contextlib.closing(self._below(base)) as below:
            for uri, _ in below:
                name = uri.removeprefix(base)
                if "/" in name:
                    break
                seen.add(name)
                yield name
            else:
                return
        yield from (name for name in self._beside_folders(base) if name not in seen)

    def _below(self, folder: str) -> Generator[Listed, None, None]:
        root, prefix = self._parts(folder)
        with translated(folder):
            client = self._clients.for_bucket(folder).patient
            listing = (
                _one_by_one(client, prefix)
                if self._listers == 1
                else listed_in_parallel(_pages(client, prefix), len(prefix or ""), self._listers)
            )
            with contextlib.closing(listing):
                for key, found in listing:
                    yield root + key, found

    def _beside_folders(self, base: str) -> Iterator[str]:
        root, prefix = self._parts(base)
        with translated(base):
            found = obstore.list_with_delimiter(self._clients.for_bucket(base).patient, prefix)
        for meta in found["objects"]:
            if meta["path"] != prefix:
                yield (root + meta["path"]).removeprefix(base)

    def _parts(self, folder: str) -> tuple[str, str | None]:
        """Return the URI of a folder's bucket with a slash, and the prefix of its keys; None for all."""
        bucket, key = self._clients.split(folder)
        return f"{self._clients.scheme}://{bucket}/", key.rstrip("/") or None


def _one_by_one(client: "ObjectStore", prefix: str | None) -> Generator[Listed, None, None]:
    before = ""
    for page in obstore.list(client, prefix, chunk_size=PAGE):
        for key, found in _entries(page, prefix, before):
            yield key, found
            before = key


def _pages(client: "ObjectStore", prefix: str | None) -> Fetch[Listed]:
    """Return what lists one page; one page goes on behind the last key of another."""

    def fetch(after: str | None, more: str | None) -> Page[Listed]:
        behind = more if after is None else after
        asked = behind
        while True:
            page = next(obstore.list(client, prefix, offset=asked, chunk_size=PAGE), [])
            entries = [entry for entry in _entries(page, prefix, behind or "") if entry[0] > (behind or "")]
            is_full = len(page) == PAGE
            if is_full and entries and entries[-1][0].endswith("/"):
                entries.pop()  # no listing can begin behind it; the next page begins with it
            if entries or not is_full:
                return Page([key for key, _ in entries], entries, entries[-1][0] if is_full else None)
            # obstore drops a slash at the end of what is asked for, so that this page lies before it.
            if page[-1]["path"] <= (asked or ""):
                raise StorageRefusedError(
                    "this storage does not list what comes behind a key: set TRACE_OCR_LIST_THREADS=1"
                )
            asked = page[-1]["path"]

    return fetch


def _entries(page: Iterable[Any], prefix: str | None, before: str) -> Iterator[Listed]:
    """Yield the objects of a page with their keys, without that of the folder itself.

    Args:
        before: the key before the page
    """
    for found in page:
        key = found["path"]
        if key == prefix:
            continue
        if key <= before and not found["size"]:
            # The object that a console makes for a folder, listed behind the folder's neighbours `folder-2`:
            # obstore drops the slash at the end of its key.
            key += "/"
        yield key, found
        before = key
