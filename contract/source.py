"""The source of a job's items: where it is, and which of its items are read."""

from typing import Annotated, Any, Literal

import msgspec
from pydantic import BaseModel, ConfigDict, Field, model_validator

from contract.errors import JobError
from contract.lines import UNREADABLE
from contract.region import MAX_NAME, Level

STANDARD_INPUT = "-"
"""The URI of a manifest on standard input."""

MAX_SAMPLE = 1_000_000
"""Maximum items of a sample: it is held in memory while the source is listed."""


class Sample(BaseModel):
    """So many items of a source, chosen at random; the same seed chooses the same ones."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    items: int = Field(ge=1, le=MAX_SAMPLE)
    seed: int = Field(0, ge=0, lt=2**32)


SEVERAL = "several"
"""The type of a source that consists of others."""

MAX_PARTS = 64
"""Maximum sources of one job."""

MAX_SOURCE = 4096
"""Maximum characters of a source's URI; for several, of all their URIs as JSON."""

MAX_GLOBS = 32
"""Maximum globs that include files of a source, and that exclude some."""

Glob = Annotated[str, Field(min_length=1, max_length=1024)]
"""A glob over names of files, as `producer.sources.globs` reads it."""

Globs = Annotated[tuple[Glob, ...], Field(max_length=MAX_GLOBS)]


class Selection(BaseModel):
    """Which of a source's items are read, by the names of their files relative to the source.

    `include` are globs of which a name matches one, if there are any; `exclude` those of which it matches
    none. `limit` is the number of items, the first ones that remain.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    include: Globs = ()
    exclude: Globs = ()
    limit: int | None = Field(None, ge=1)


Changed = Literal["etag", "mtime+size", "sha256"]
"""What tells that a file has changed: the storage's own tag, its time and length, or the bytes themselves."""

MAX_CATEGORIES = 100
"""Maximum categories of regions that a job can name."""

Category = Annotated[str, Field(min_length=1, max_length=MAX_NAME)]
"""The name of a category of regions, as its files write it."""


class Regions(BaseModel):
    """Files that say which regions of a source's pages are read.

    `format` names a module of `producer.regions`. `uri` is a file, or a folder or prefix of files, which ends
    in a slash. `level` and `categories` are as in `RegionOptions`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: str = Field(pattern=r"^[a-z0-9_]{1,32}$")
    uri: str = Field(min_length=1, max_length=4096)
    level: Level | None = None
    categories: Annotated[tuple[Category, ...], Field(max_length=MAX_CATEGORIES)] = ()


Column = Annotated[str, Field(min_length=1, max_length=MAX_NAME)]
"""The name of a column of shards."""


class Shards(BaseModel):
    """Which shards a source of shards has, and their columns.

    `names` is a pattern of names below the source's URI, with braces or wildcards; None if the URI is the one
    shard. The columns are as in `contract.shards.ShardOptions`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    names: Annotated[str, Field(min_length=1, max_length=4096)] | None = None
    image_column: Column | None = None
    id_column: Column | None = None
    label_column: Column | None = None


class Source(BaseModel):
    """Where the items come from; `uri` is an absolute path, a remote URI, or `-` for standard input.

    `type` names a module of `producer.sources`. Several sources are one of type `several`, with the others as
    `parts`; its URI is a JSON array of theirs. All items of a `confined` source are at or below its URI, so
    workers refuse a link that leads out of it. With `regions`, its items are regions of its pages. A `sample`
    is taken of its items; a document is one, and so is a region. With a `selection`, only some of its items
    are listed, and the sample is of those. `changed` says which fingerprint its items get, if any. `chosen`
    is a file of its items, which are read in place of all of them; it may be empty.
    `shards` says which shards it has, if it is of these.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: str = Field(pattern=r"^[a-z0-9_]{1,32}$")
    uri: str = Field(min_length=1, max_length=MAX_SOURCE)
    confined: bool = True
    parts: Annotated[tuple["Source", ...], Field(min_length=2, max_length=MAX_PARTS)] | None = None
    selection: Selection | None = None
    sample: Sample | None = None
    changed: Changed | None = None
    chosen: Annotated[str, Field(min_length=1, max_length=4096)] | None = None
    regions: Regions | None = None
    shards: Shards | None = None

    @property
    def uris(self) -> tuple[str, ...]:
        """The URIs of its parts, or its own."""
        return uris_in(self.uri)

    @property
    def has_template(self) -> bool:
        """Whether the same named regions lie on every page."""
        return self.regions is not None and self.regions.format == "template"

    @model_validator(mode="before")
    @classmethod
    def _of_an_older_version(cls, values: Any) -> Any:
        """Convert a source from version 0.1: prefixes had type s3, and only manifests were not confined."""
        if isinstance(values, dict) and "confined" not in values:
            kind = values.get("type")
            return {**values, "type": "prefix" if kind == "s3" else kind, "confined": kind != "manifest"}
        return values


def uris_in(source: str) -> tuple[str, ...]:
    """Return the URIs in that of a source: several are a JSON array, with which no other URI begins.

    Raises:
        JobError: it begins like an array, and is none
    """
    if not source.startswith("["):
        return (source,)
    try:
        return msgspec.json.decode(source, type=tuple[str, ...])
    except UNREADABLE as error:
        raise JobError(f"the source {source[:100]!r} is no list of sources: {error}") from error
