"""Images in archives, with the labels and metadata beside them, in WebDataset's convention.

Files whose names are equal up to the first dot of their last part are one sample: `a/7.png`, `a/7.txt` and
`a/7.json` are an image, its label and its metadata. They follow each other. Of several images, each takes the
label that has its own name (`7.left.png`, `7.left.txt`), or else the sample's.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, NamedTuple

import msgspec

from contract.errors import ItemError
from contract.lines import UNREADABLE
from contract.records import MAX_TEXT, Member
from contract.shards.base import Entry, ShardOptions

LABELS, METADATA = ("txt", "label"), "json"
"""Extensions of labels and of metadata."""

MAX_LABEL_BYTES, MAX_METADATA_BYTES = 4 * MAX_TEXT, 1 << 16
"""Maximum bytes of a file with a label, whose characters have up to four, and of one with metadata."""

MAX_IMAGES = 4_096
"""Images of one sample that wait for its label: of more, those before have none."""


class Packed(NamedTuple):
    """A file in an archive: its name there, where an item finds it, and how to read one with a label now.

    `read` raises ItemError if the file is damaged.
    """

    name: str
    size: int
    member: Member
    read: Callable[[], bytes]


@dataclass
class _Sample:
    """One sample: what was read of it so far, by the part of the name between its key and its extension."""

    images: list[tuple[str, Packed]] = field(default_factory=list)
    labels: dict[str, str] = field(default_factory=dict)
    metadata: dict[str, dict[str, Any]] = field(default_factory=dict)


def entries_of(files: Iterable[Packed], options: ShardOptions, passed_over: Counter[str]) -> Iterator[Entry]:
    """Yield the images among an archive's files, in order; each is known by its name."""
    reader = _Reader(options, passed_over)
    for _, some in groupby(_named(files, passed_over), key=lambda file: _split(file.name)[0]):
        sample = _Sample()
        for file in some:
            reader.add(sample, file)
            if len(sample.images) == MAX_IMAGES:
                yield from reader.entries(sample)
                sample.images.clear()
        yield from reader.entries(sample)


class _Reader:
    """Reads samples with a source's options."""

    def __init__(self, options: ShardOptions, passed_over: Counter[str]) -> None:
        self._options, self._passed_over = options, passed_over
        self._wants_fields = bool(options.id_column or options.label_column)

    def add(self, sample: _Sample, file: Packed) -> None:
        """Add a file to a sample: its label or its metadata is read, its images are not."""
        extension = _split(file.name)[1]
        part, _, last = extension.rpartition(".")
        if self._is_image(file.name, extension):
            sample.images.append((part, file))
        elif self._is_label(extension, last):
            self._add_label(sample, part if self._options.label_column is None else "", file)
        elif last == METADATA:
            self._add_metadata(sample, part, file)
        else:
            self._passed_over["other_extension"] += 1

    def entries(self, sample: _Sample) -> Iterator[Entry]:
        """Yield a sample's images."""
        for part, file in sample.images:
            metadata = sample.metadata.get(part, sample.metadata.get(""))
            label = sample.labels.get(part, sample.labels.get(""))
            identity = file.name
            if self._wants_fields and metadata is not None:
                label = _text(metadata, self._options.label_column) or label
                identity = _text(metadata, self._options.id_column) or identity
            raw = None if metadata is None else msgspec.Raw(msgspec.json.encode(metadata))
            yield Entry(identity, file.member, label, raw)

    def _is_image(self, name: str, extension: str) -> bool:
        column = self._options.image_column
        if column is not None:
            return extension == column.lower()
        return os.path.splitext(name)[1].lower() in self._options.extensions  # noqa: PTH122 - no path

    def _is_label(self, extension: str, last: str) -> bool:
        column = self._options.label_column
        return last in LABELS if column is None else extension == column.lower()

    def _add_label(self, sample: _Sample, part: str, file: Packed) -> None:
        text = None
        if file.size <= MAX_LABEL_BYTES:
            try:
                text = file.read().decode().rstrip("\r\n")
            except (UnicodeDecodeError, ItemError):
                text = None
        if text is None or len(text) > MAX_TEXT:
            self._passed_over["unreadable_label"] += 1
        else:
            sample.labels.setdefault(part, text)

    def _add_metadata(self, sample: _Sample, part: str, file: Packed) -> None:
        try:
            if file.size > MAX_METADATA_BYTES:
                raise msgspec.DecodeError
            sample.metadata.setdefault(part, msgspec.json.decode(file.read(), type=dict[str, Any]))
        except (*UNREADABLE, ItemError):
            self._passed_over["unreadable_metadata"] += 1


def _named(files: Iterable[Packed], passed_over: Counter[str]) -> Iterator[Packed]:
    """Yield the files whose names can be ids, in the form of ids: without `./`, and as valid UTF-8."""
    for file in files:
        name = file.name.removeprefix("./")
        reason = _reason_to_pass_over(name)
        if reason:
            passed_over[reason] += 1
            continue
        printable = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
        if len(printable) > MAX_TEXT:
            passed_over["name_too_long"] += 1
        else:
            member = msgspec.structs.replace(file.member, name=printable)
            yield file._replace(name=printable, member=member)


def _reason_to_pass_over(name: str) -> str | None:
    parts = name.split("/")
    if not parts[-1]:
        return "placeholder"
    if not parts[0] or ".." in parts:
        return "unsafe_name"
    return "hidden" if any(part.startswith(".") for part in parts) else None


def _split(name: str) -> tuple[str, str]:
    """Return a file's key, with its folders, and its extension in lower case, which may have dots."""
    folder, slash, last = name.rpartition("/")
    stem, _, extension = last.partition(".")
    return folder + slash + stem, extension.lower()


def _text(metadata: dict[str, Any], column: str | None) -> str | None:
    """Return a field of metadata as text, if there is one that has a value."""
    value = metadata.get(column) if column else None
    if isinstance(value, bool | None) or not isinstance(value, str | int | float):
        return None
    return str(value)[:MAX_TEXT] or None
