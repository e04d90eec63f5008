"""Members that lie in their shard as spans of bytes: those side by side are read by one request."""

from collections.abc import Callable, Iterator, Sequence

from contract.errors import ItemError
from contract.records import Member
from contract.shards.base import Shard

GROUP_BYTES = 8 << 20
"""Bytes of members that are read together. S3 begins to answer after some 20 ms, in which it sends 2 MB."""

GAP_BYTES = 1 << 18
"""Bytes between two members that are read in vain; more would take longer than another request."""

Span = Callable[[Member], tuple[int, int]]
"""Returns a member's first byte in the shard, and how many there are."""


def span_groups(members: Sequence[Member], span: Span) -> Iterator[list[Member]]:
    """Yield the members, in order, in groups that lie side by side; a larger one by itself."""
    group: list[Member] = []
    first = last = 0
    for member in members:
        start, length = span(member)
        low, high = min(first, start), max(last, start + length)
        apart = start - last > GAP_BYTES or first - (start + length) > GAP_BYTES
        if group and not apart and high - low <= GROUP_BYTES:
            group.append(member)
            first, last = low, high
            continue
        if group:
            yield group
        group, first, last = [member], start, start + length
    if group:
        yield group


def span_contents(
    shard: Shard,
    members: Sequence[Member],
    span: Span,
    refused: Callable[[Member], ItemError | None],
    take: Callable[[Member, bytes], bytes | ItemError],
) -> Iterator[bytes | ItemError]:
    """Yield each member's file, in order, with one request for each of its groups.

    Args:
        refused: returns the error of a member that is not to be read
        take: returns the file in a member's span, or its error
    """
    for group in span_groups(members, span):
        errors = {member: error for member in group if (error := refused(member)) is not None}
        spans = {member: span(member) for member in group if member not in errors}
        first = min((start for start, _ in spans.values()), default=0)
        last = max((start + length for start, length in spans.values()), default=0)
        data = memoryview(shard.read(first, last - first) if last > first else b"")
        for member in group:
            if member in errors:
                yield errors[member]
                continue
            start, length = spans[member]
            yield take(member, bytes(data[start - first : start - first + length]))
