"""Which source the user names, and the items of a source."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import IO

from contract.errors import SourceError, UsageError
from contract.images import IMAGE_EXTENSIONS
from contract.records import SHOWN, Item
from contract.source import Source
from contract.storage import Storage, absolute, is_remote, unknown_scheme
from contract.storage.roots import AllowedRoots
from producer.sources import SOURCES
from producer.sources.base import Listing, SourceContext, SourceType
from producer.sources.chosen import chosen_items
from producer.sources.fingerprints import fingerprinted
from producer.sources.globs import folders_of
from producer.sources.sampling import sampled
from producer.sources.selection import matching
from producer.sources.several import combined, joined


def identify_sources(texts: Sequence[str]) -> Source:
    """Return the source that the user's SOURCE arguments name; several are one of type `several`.

    Raises:
        UsageError: no source type matches one of them, or they cannot be read together
    """
    found = [identify_source(text) for text in texts]
    return found[0] if len(found) == 1 else combined(found)


def identify_source(text: str) -> Source:
    """Return the source that the user's SOURCE argument names.

    Raises:
        UsageError: no source type matches it
    """
    try:
        found = (source_type.match(text) for source_type in SOURCES.values())
        source = next(filter(None, found), None)
        exists = source is None and (is_remote(text) or Path(text).exists())
    except (OSError, ValueError) as error:
        raise UsageError(f"{text[:SHOWN]!r} is not a valid path: {error}") from error
    if exists:
        raise UsageError(f"{text} is not {_known()}. {_advice(text)}")
    if source is None and "://" in text:
        raise UsageError(f"{text[:SHOWN]}: {unknown_scheme(text)}")
    if source is None:
        raise UsageError(f"there is no folder, file or manifest {text}")
    return source


def _known() -> str:
    """Return what can be a source."""
    *others, last = (source_type.named for source_type in reversed(list(SOURCES.values())))
    return f"{', '.join(others)} or {last}"


def _advice(text: str) -> str:
    if not text.endswith(".json"):
        return "Pass its folder instead"
    return (
        "docTR's labels.json becomes a manifest with: "
        """jq -c 'to_entries[] | {uri: ("images/" + .key), label: .value}' labels.json > labels.jsonl"""
    )


def root_of(source: Source) -> str:
    """Return the folder or prefix that a source's relative names start from; for `-`, the working folder."""
    return _type_of(source).root(source.uri)


def all_roots_of(source: Source) -> tuple[str, ...]:
    """Return the roots of a source's parts, or its own."""
    return tuple(root_of(part) for part in source.parts or (source,))


def list_source(
    source: Source,
    storage: Storage,
    stdin: IO[bytes],
    extensions: frozenset[str] = IMAGE_EXTENSIONS,
    locate: Callable[[str], str] = absolute,
    roots: AllowedRoots | None = None,
) -> Listing:
    """Return the source's items; reading starts when the first item is requested.

    Args:
        extensions: file name extensions to include from a folder or prefix
        locate: as in `SourceContext`
        roots: what files must lie below for their fingerprints; None if all may be looked at

    Raises (while iterating):
        SourceError: as `SourceType.items`, `fingerprinted` and `chosen_items`
    """
    context = SourceContext(storage, stdin, extensions, locate=locate, changed=source.changed, roots=roots)
    if source.chosen:
        return Listing(chosen_items(source.chosen, storage), context.passed_over)
    items = (
        joined(source.parts, lambda part: _named(part, source, context), root_of)
        if source.parts
        else _named(source, source, context)
    )
    return Listing(narrowed(items, source, storage, context.passed_over, roots), context.passed_over)


def narrowed(
    items: Iterator[Item],
    source: Source,
    storage: Storage,
    passed_over: Counter[str],
    roots: AllowedRoots | None,
) -> Iterator[Item]:
    """Yield those of a source's items, in order, that its limit and its sample leave, with fingerprints.

    Nothing is listed after the limit; arguments and errors are those of `list_source`.
    """
    if source.selection:
        items = islice(items, source.selection.limit)
    if source.sample:
        items = sampled(items, source.sample, passed_over)
    if source.changed:
        # Last: only what is read needs a fingerprint.
        items = fingerprinted(items, source.changed, storage, roots)
    return items


def _named(part: Source, source: Source, context: SourceContext) -> Iterator[Item]:
    """Return the items of a source, or of a part of it, whose names its globs choose."""
    selection = source.selection
    include = selection.include if selection else ()
    context = replace(context, shards=part.shards, folders=folders_of(include) if include else ("",))
    items = _type_of(part).items(part.uri, context)
    return matching(items, selection, root_of(part), context.passed_over) if selection else items


def _type_of(source: Source) -> SourceType:
    try:
        return SOURCES[source.type]
    except KeyError:
        raise SourceError(
            f"{source.uri} is a source of type {source.type!r}, which this version does not know: "
            f"it knows {', '.join(SOURCES)}"
        ) from None
