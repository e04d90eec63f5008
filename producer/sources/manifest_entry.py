"""One line of a manifest: an image, or a region of a page, whose text is read only when its item is made."""

import json
from collections.abc import Mapping
from typing import Any

import msgspec

from contract.documents import MAX_PAGES, page_id
from contract.lines import UNREADABLE
from contract.metadata import encoded_metadata
from contract.records import Label, Text
from contract.region import Region, region_id, region_of
from producer.sources.seen_ids import RegionNumbers


class ManifestEntry(msgspec.Struct, frozen=True, gc=False):
    """One line of a manifest, but for its further fields; `unit` and `page` are ignored without a region.

    `region` is JSON text. What is wrong with it, or with its unit or page, costs its own item only.
    """

    uri: Text
    id: Text | None = None
    label: Label | None = None
    region: msgspec.Raw = msgspec.Raw()
    unit: Any = None
    page: Any = None

    @property
    def has_region(self) -> bool:
        """Whether the line gives a region, which may be a malformed one."""
        return bool(self.region) and bytes(self.region) != b"null"

    @property
    def page_number(self) -> int | None:
        """The page, counted from 1; None if the line gives none, or what is no page."""
        page = self.page
        number = int(page) if isinstance(page, str) and page.isdecimal() and len(page) < 10 else page
        return number if type(number) is int and 1 <= number <= MAX_PAGES else None

    def region_id(self, numbers: RegionNumbers) -> str:
        """Return the id of a line with a region: its own, or its page's with its number on that page."""
        page = page_id(self.uri, self.page_number) if self.page_number else self.uri
        number = numbers.next(page)
        return self.id or region_id(page, str(number))

    def region_value(self) -> Region:
        """Return the region of a line that has one; with a `fault` if it is malformed."""
        if self.page is not None and self.page_number is None:
            wrong = str(self.page)[:20]
            return Region(fault=f"the page of a region is a number from 1 to {MAX_PAGES:,}, not {wrong!r}")
        return region_of(_value(bytes(self.region)), "px" if self.unit is None else self.unit)


class StrictEntry(ManifestEntry, frozen=True, gc=False, forbid_unknown_fields=True):
    """A line without further fields."""


NumberedEntry = tuple[int, ManifestEntry, msgspec.Raw | None]
"""Number of the line or row, counted from 1, entry, and metadata."""


def metadata_of(fields: Mapping[str, object], place: str) -> msgspec.Raw | None:
    """Return the further fields of a line or row as JSON; arguments and errors as for `encoded_metadata`."""
    return encoded_metadata(place, {name: value for name, value in fields.items() if name not in KNOWN})


KNOWN = frozenset(ManifestEntry.__struct_fields__)
"""The fields of a line that are no metadata."""


def _value(text: bytes) -> Any:
    for read in (msgspec.json.decode, json.loads):
        try:
            return read(text)
        # json also reads NaN, and Infinity for what is too large.
        except (*UNREADABLE, ValueError):
            continue
    return None


def entry_without_nan(line: bytes) -> tuple[ManifestEntry, dict[str, Any]] | None:
    """Return a line whose region holds NaN or Infinity, which Python's json writes and JSON does not have.

    With it come its other fields.

    Returns None if something else is wrong with the line.
    """
    try:
        record = json.loads(line)
        text = json.dumps(record.pop("region"))
        return msgspec.convert({**record, "region": msgspec.Raw(text)}, ManifestEntry), record
    except (*UNREADABLE, ValueError, KeyError, AttributeError, TypeError):
        return None
