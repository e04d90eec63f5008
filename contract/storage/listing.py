"""Listings in the order of UTF-8, whatever the storage sorts by."""

from collections.abc import Iterable, Iterator
from typing import TypeVar

from contract.errors import StorageRefusedError

T = TypeVar("T")

FIRST_AFTER_SURROGATES = "\ue000"
"""From here on UTF-16 and UTF-8 sort differently: in UTF-16 a character above U+FFFF begins with a surrogate,
and so comes before those from U+E000 to U+FFFF."""


def in_order_of_utf8(listed: Iterable[tuple[str, T]], folder: str) -> Iterator[tuple[str, T]]:
    """Yield (URI, anything) sorted by the URIs as UTF-8, of a listing sorted as UTF-8 or UTF-16.

    Only neighbours that both have a character from U+E000 on may change places; only those are held.

    Raises:
        StorageRefusedError: the listing has another order
    """
    before = b""
    for uri, found in _reordered(listed):
        encoded = uri.encode("utf-8", "surrogatepass")
        if encoded < before:
            raise StorageRefusedError(
                f"{folder} cannot be read as a prefix, since {uri} is listed after a later name, as "
                "Azure does with a hierarchical namespace: write a manifest of its objects"
            )
        before = encoded
        yield uri, found


def _reordered(listed: Iterable[tuple[str, T]]) -> Iterator[tuple[str, T]]:
    held: list[tuple[str, T]] = []
    for entry in listed:
        if max(entry[0]) >= FIRST_AFTER_SURROGATES:
            held.append(entry)
            continue
        yield from _by_utf8(held)
        held.clear()
        yield entry
    yield from _by_utf8(held)


def _by_utf8(entries: list[tuple[str, T]]) -> list[tuple[str, T]]:
    return sorted(entries, key=lambda entry: entry[0].encode("utf-8", "surrogatepass"))
