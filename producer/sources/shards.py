"""Shards: files that hold many images each, such as tar, zip, Parquet or LMDB."""

import os
import re
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from pathlib import Path

import bracex
import msgspec
from pydantic import ValidationError

from contract.errors import SourceError, UsageError
from contract.records import MAX_TEXT, SHOWN, Item, Member
from contract.shards import SHARDS, Entry, Shard, ShardOptions, format_of
from contract.shards.parquet import is_manifest
from contract.source import Shards as Asked
from contract.source import Source
from contract.storage import absolute, is_remote, join
from contract.storage.failures import failing_as
from producer.sources.base import SourceContext
from producer.sources.globs import compiled
from producer.sources.manifest import read_manifest
from producer.sources.seen_ids import SeenIds

MAX_SHARDS = 100_000
"""Maximum shards that braces name: 10^9 crops in shards of 10,000."""

FIRST_ENTRIES, BLOCK_ENTRIES = 1_024, 8_192
"""Entries whose ids are looked up in one call: few at first, so that workers can start."""

MAY_BE_MANIFESTS = ("parquet",)
"""Formats whose files may list files in place of holding them: their items may lie elsewhere."""

LMDB_FILE = "data.mdb"
"""The file in a folder that is an LMDB."""

_BRACES, _WILDCARDS = re.compile(r"\{.*\}", re.DOTALL), re.compile(r"[*?\[]")


class Shards:
    """The images in one shard, in those that braces name, or in those that a glob matches."""

    @property
    def named(self) -> str:
        """The extensions of all formats."""
        return f"shards ({', '.join(chain.from_iterable(one.extensions for one in SHARDS.values()))})"

    def match(self, text: str) -> Source | None:
        """Return the shard or shards that the text names, by their extension; braces are only counted here.

        Raises:
            UsageError: the braces name more than MAX_SHARDS
        """
        remote = is_remote(text)
        if not remote and ("://" in text or os.path.lexists(text)):
            file = _file_of(Path(text))
            return self._one(os.path.realpath(file)) if file.is_file() else None
        if not (_BRACES.search(text) or _WILDCARDS.search(text)):
            return self._one(text) if remote else None
        if any(format_of(name) is None for name in islice(_expanded(text), 1)):
            return None
        first = min(found.start() for found in (_BRACES.search(text), _WILDCARDS.search(text)) if found)
        folder, slash, _ = text[:first].rpartition("/")
        names = text[len(folder + slash) :]
        if not remote:
            path = os.path.realpath(folder + slash or ".")
            return self._several(path, names) if Path(path).is_dir() else None
        return self._several(folder + slash, names)

    def _several(self, uri: str, names: str) -> Source:
        confined = format_of(names) not in MAY_BE_MANIFESTS
        return Source(type="shards", uri=uri, confined=confined, shards=Asked(names=names))

    def _one(self, uri: str) -> Source | None:
        form = format_of(uri)
        return None if form is None else Source(type="shards", uri=uri, confined=form not in MAY_BE_MANIFESTS)

    def root(self, uri: str) -> str:
        """Return the folder or prefix of the shards."""
        return uri.rpartition("/")[0] or "/" if format_of(uri) else uri

    def items(self, uri: str, context: SourceContext) -> Iterator[Item]:
        """Yield the images in the shards. The id of an image is its own in its shard.

        If there may be several shards, the shard's name below the source and a slash come first.

        Raises:
            SourceError: a shard is missing or damaged, or an id is used twice in it
        """
        asked = context.shards or Asked()
        options = ShardOptions(
            **asked.model_dump(exclude={"names"}), extensions=frozenset(context.extensions)
        )
        if asked.names is None:
            yield from _Listing(uri, context.locate(uri), "", context).items(options)
            return
        with failing_as(SourceError, f"the shards in {uri} cannot be listed"):
            for name in _names(uri, asked.names, context):
                location = join(context.locate(uri), name)
                yield from _Listing(join(uri, name), location, f"{name}/", context).items(options)


SOURCE = Shards()


def _file_of(path: Path) -> Path:
    """Return the file of a shard that is a folder; any other path itself."""
    return path / LMDB_FILE if (path / LMDB_FILE).is_file() else path


def with_columns(source: Source, image: str | None, identity: str | None, label: str | None) -> Source:
    """Return a source whose shards have the columns; raises UsageError if it has no shards."""
    named = {"image_column": image, "id_column": identity, "label_column": label}
    given = {name: value for name, value in named.items() if value is not None}
    if not given:
        return source
    if source.parts:
        parts = tuple(with_columns(part, image, identity, label) for part in source.parts)
        return source.model_copy(update={"parts": parts})
    if source.type != "shards":
        raise UsageError(
            f"{source.uri[:SHOWN]} is a {source.type}, and {' and '.join(given)} is for shards: leave it out"
        )
    try:
        return source.model_copy(
            update={"shards": Asked(**{**(source.shards or Asked()).model_dump(), **given})}
        )
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise UsageError(f"{first['loc'][0]}: {first['msg']}") from error


def _expanded(names: str) -> Iterator[str]:
    """Yield the names that braces name; wildcards stay.

    Raises:
        UsageError: they are more than MAX_SHARDS
    """
    try:
        yield from bracex.iexpand(names, limit=MAX_SHARDS)
    except bracex.ExpansionLimitException as error:
        raise UsageError(
            f"the braces of {names[:SHOWN]} name more than {MAX_SHARDS:,} shards: use a wildcard"
        ) from error


def _names(uri: str, pattern: str, context: SourceContext) -> Iterable[str]:
    """Return the names of the shards below a URI, in order: all that braces name, or the existing ones."""
    if not _WILDCARDS.search(pattern):
        return dict.fromkeys(_expanded(pattern))
    return _matching(context.locate(uri), pattern, context)


def _matching(location: str, pattern: str, context: SourceContext) -> Iterator[str]:
    matches = compiled([f"/{pattern}"])
    base, found = join(location, ""), False
    for at, _ in context.storage.at(location).objects(location):
        name = at.removeprefix(base)
        if format_of(name) and matches(name):
            found = True
            yield name
    if not found:
        raise SourceError(f"no shard in {location} matches {pattern}")


class _Listing:
    """The listing of one shard.

    Args:
        uri: as items have it
        location: its form to open
        prefix: what its items' ids begin with
    """

    def __init__(self, uri: str, location: str, prefix: str, context: SourceContext) -> None:
        self._uri, self._location, self._prefix, self._context = uri, location, prefix, context

    def items(self, options: ShardOptions) -> Iterator[Item]:
        """Yield the shard's images.

        Raises:
            SourceError: the shard is missing or damaged, or an id is used twice
        """
        name = format_of(self._uri)
        if name is None:
            raise SourceError(f"{self._uri} is no shard: its name ends in none of {', '.join(SHARDS)}")
        with failing_as(SourceError, f"the shard {self._uri} cannot be read"):
            shard = self._opened()
            if name in MAY_BE_MANIFESTS and options.image_column is None and is_manifest(shard):
                yield from self._listed(shard, options)
                return
            entries = SHARDS[name].entries(shard, options, self._context.passed_over)
            for entry in self._unrepeated(entries):
                identity = self._prefix + entry.id
                if len(identity) > MAX_TEXT:
                    self._context.passed_over["name_too_long"] += 1
                    continue
                yield Item(
                    identity, self._uri, entry.label, member=_of(entry, shard), metadata=entry.metadata
                )

    def _listed(self, shard: Shard, options: ShardOptions) -> Iterator[Item]:
        """Yield the items of a manifest in columns, whose relative URIs start from its folder.

        Raises:
            SourceError: the manifest is malformed, or a column is named
        """
        if options.id_column or options.label_column:
            raise SourceError(
                f"{self._uri} has no images, but a column `uri`: it is a manifest, whose columns `id` and "
                "`label` are read, and no others can be named for them"
            )
        context = self._context
        base, storage = self._uri.rpartition("/")[0], context.storage
        for item in read_manifest(self._uri, base, storage, context.stdin, context.passed_over, shard.uri):
            yield msgspec.structs.replace(item, id=self._prefix + item.id) if self._prefix else item

    def _opened(self) -> Shard:
        roots = self._context.roots
        location = roots.resolved(self._location) if roots else absolute(self._location)
        store = self._context.storage.at(location)
        return Shard(location, store, store.version(location))

    def _unrepeated(self, entries: Iterator[Entry]) -> Iterator[Entry]:
        size, number = FIRST_ENTRIES, 1
        with SeenIds() as seen:
            while block := list(islice(entries, size)):
                repeated = seen.add([(entry.id, place) for place, entry in enumerate(block, number)])
                failing = min(repeated, default=0)
                for place, entry in enumerate(block, number):
                    if place == failing:
                        raise SourceError(
                            f"{self._uri} holds {entry.id!r} twice, as images {repeated[place]:,} and "
                            f"{place:,}: results are joined on ids, so give each its own name"
                        )
                    yield entry
                number, size = number + len(block), BLOCK_ENTRIES


def _of(entry: Entry, shard: Shard) -> Member:
    member = entry.member
    return member if member.version == shard.tag else msgspec.structs.replace(member, version=shard.tag)
