"""The records of nights, in `nights/` below the root of all nights."""

from typing import Annotated, Any, Literal

import msgspec

from contract.source import Changed

NIGHT = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}\Z"
"""The pattern of a night's name: its date."""

OnDelete = Literal["keep", "tombstone"]
"""What happens to the lines of items that are no longer in the source."""

Name = Annotated[str, msgspec.Meta(pattern=NIGHT)]
File = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-z.-]{1,80}\Z")]
"""The name of a file directly in `nights/`."""


class Entry(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One item of the source, as a night finds it or leaves it; a document is one.

    Args:
        fingerprint: of its content when it was last listed
        read: this night reads it
        pages: the pages of it that failed; if it is not read whole, this night reads these
        failures: nights in a row in which its content could not be read completely
        late: it failed only because its job's deadline came first, which is no fault of its own
        gone: the first night in which it was no longer in the source
        deleted: its lines are tombstones
    """

    id: str
    fingerprint: str | None = None
    read: bool = False
    pages: tuple[int, ...] = ()
    failures: int = 0
    late: bool = False
    gone: Name | None = None
    deleted: bool = False


class Counts(msgspec.Struct, omit_defaults=False):
    """What a night found: items of its source by what it does with them; `listed` is their sum but `gone`.

    `again` failed the night before, `given_up` failed too often, `gone` is no longer in the source, and
    `to_read` is what its job reads: documents and single pages.
    """

    listed: int = 0
    new: int = 0
    changed: int = 0
    again: int = 0
    unchanged: int = 0
    given_up: int = 0
    gone: int = 0
    to_read: int = 0


class Night(msgspec.Struct, frozen=True):
    """One night, `nights/DATE.json`; written once, before its job is made.

    Args:
        after: the complete night that it was compared with
        items: the file of what its job reads
        entries: the file of the source's entries, as this night found them
    """

    night: Name
    source: str
    kind: str
    changed: Changed
    on_delete: OnDelete
    after: Name | None
    items: File
    entries: File
    counts: Counts


class State(msgspec.Struct, frozen=True):
    """What the last complete night left, `nights/last.json`; written last of all.

    Args:
        parameters: those that decide the content of lines
        models: the models' identities, as in a summary, of the last night that read anything
        file: the file of the entries
        entries: their number
        present: the number of those that were in the source
        sha256: of the file
    """

    night: Name
    source: str
    kind: str
    parameters: dict[str, Any]
    models: list[dict[str, str]]
    changed: Changed
    file: File
    entries: int
    present: int
    sha256: str
