"""Where items come from: one module per type of source."""

from pathlib import Path
from typing import IO

from contract.errors import SourceError, UsageError
from contract.job import Source
from contract.records import SHOWN
from contract.registry import Registry
from contract.storage import Storage
from producer.sources.base import IMAGE_EXTENSIONS, Listing, SourceContext, SourceType

SOURCES: Registry[SourceType] = Registry(
    "producer.sources", "SOURCE", ("manifest", "file", "prefix", "folder")
)
"""In the order in which they are asked whether they know a SOURCE argument."""


def identify_source(text: str) -> Source:
    """Return what the user's SOURCE argument names.

    Raises:
        UsageError: no type of source knows it
    """
    try:
        found = (source_type.match(text) for source_type in SOURCES.values())
        source = next(filter(None, found), None)
        exists = source is None and Path(text).exists()
    except (OSError, ValueError) as error:
        raise UsageError(f"{text[:SHOWN]!r} can be no path: {error}") from error
    if exists:
        raise UsageError(
            f"{text} is neither a folder, nor an image or PDF, nor a manifest (.jsonl, .csv): "
            "name its folder instead"
        )
    if source is None:
        raise UsageError(f"there is no folder, file or manifest {text}")
    return source


def root_of(source: Source) -> str:
    """Return the folder or prefix that a source's relative names start from; the working folder for `-`."""
    return _type_of(source).root(source.uri)


def list_source(
    source: Source, storage: Storage, stdin: IO[bytes], extensions: frozenset[str] = IMAGE_EXTENSIONS
) -> Listing:
    """Return the source's items; nothing is read before the first one is asked for.

    Args:
        extensions: of the names that are taken from a folder or prefix

    Raises (while iterating):
        SourceError: as `SourceType.items`
    """
    context = SourceContext(storage, stdin, extensions)
    return Listing(_type_of(source).items(source.uri, context), context.passed_over)


def _type_of(source: Source) -> SourceType:
    try:
        return SOURCES[source.type]
    except KeyError:
        raise SourceError(
            f"{source.uri} is a source of type {source.type!r}, which this version does not know: "
            f"it knows {', '.join(SOURCES)}"
        ) from None
