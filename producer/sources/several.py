"""Several sources of one job: their items in the order of the sources, each with an id of its own."""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice

import msgspec

from contract.errors import SourceError, UsageError
from contract.records import SHOWN, Item
from contract.source import MAX_PARTS, MAX_SOURCE, SEVERAL, STANDARD_INPUT, Source
from producer.sources.seen_ids import SeenIds

BLOCK = 1_024
"""Items whose ids are looked up at once."""


def combined(parts: Sequence[Source]) -> Source:
    """Return one source of the items of several.

    Raises:
        UsageError: they are too many, or one of them is standard input
    """
    uri = msgspec.json.encode([part.uri for part in parts]).decode()
    if len(parts) > MAX_PARTS or len(uri) > MAX_SOURCE:
        raise UsageError(
            f"{len(parts):,} sources ({parts[0].uri[:SHOWN]}, ...) are too many: give at most {MAX_PARTS:,}, "
            f"with {MAX_SOURCE:,} characters in all, or their folder, or a manifest that lists them"
        )
    if any(part.uri == STANDARD_INPUT for part in parts):
        raise UsageError("standard input cannot be one of several sources: read it alone, or from a file")
    return Source(type=SEVERAL, uri=uri, confined=all(part.confined for part in parts), parts=tuple(parts))


def joined(
    parts: Sequence[Source], items_of: Callable[[Source], Iterator[Item]], root_of: Callable[[Source], str]
) -> Iterator[Item]:
    """Yield the items of all parts, in order.

    Ids of confined parts, such as folders, are paths relative to the deepest folder that holds all of these.
    A shard is like a folder of its members. Manifests give their own ids.

    Raises:
        SourceError: two items have the same id, or as `SourceType.items`
    """
    roots = {part.uri: _root(part, root_of) for part in parts if part.confined}
    start = len(_common(list(roots.values())))

    def items() -> Iterator[Item]:
        for part in parts:
            before = roots[part.uri][start:] if part.confined else ""
            for item in items_of(part):
                yield msgspec.structs.replace(item, id=before + item.id) if before else item

    return _unique(items())


def _root(part: Source, root_of: Callable[[Source], str]) -> str:
    """Return the folder of a part's items, with a slash; of a single shard, itself: it is one of several."""
    is_shard = part.type == "shards" and (part.shards is None or part.shards.names is None)
    return (part.uri if is_shard else root_of(part)).rstrip("/") + "/"


def _common(roots: Sequence[str]) -> str:
    """Return the longest beginning of all folders that ends in a slash."""
    shortest, longest = min(roots, default=""), max(roots, default="")
    same = next(
        (place for place, (one, other) in enumerate(zip(shortest, longest, strict=False)) if one != other),
        len(shortest),
    )
    return shortest[: shortest.rfind("/", 0, same) + 1]


def _unique(items: Iterator[Item]) -> Iterator[Item]:
    first = 1
    with SeenIds() as seen:
        while block := list(islice(items, BLOCK)):
            repeated = seen.add([(item.id, number) for number, item in enumerate(block, first)])
            for number, item in enumerate(block, first):
                if number in repeated:
                    raise SourceError(
                        f"two items of these sources have the id {item.id!r}, the second one is {item.uri}: "
                        "results are joined on ids, so give no source twice, none within another, and "
                        "manifests ids of their own"
                    )
                yield item
            first += len(block)
