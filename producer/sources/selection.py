"""Selections of a source's items by globs over the names of their files."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from pydantic import ValidationError

from contract.errors import UsageError
from contract.records import Item
from contract.source import Selection
from producer.sources.globs import compiled

NOT_INCLUDED, EXCLUDED = "not_included", "excluded"
"""The reasons under which items are counted that the globs leave out."""


def matching(
    items: Iterator[Item], selection: Selection, root: str, passed_over: Counter[str]
) -> Iterator[Item]:
    """Yield the items whose names the globs of a selection choose, in order.

    Args:
        root: the folder or prefix that names start from

    Raises:
        UsageError: a glob is malformed
    """
    included = compiled(selection.include) if selection.include else None
    excluded = compiled(selection.exclude) if selection.exclude else None
    name_of = named_from(root)
    for item in items:
        name = name_of(item)
        if included and not included(name):
            passed_over[NOT_INCLUDED] += 1
        elif excluded and excluded(name):
            passed_over[EXCLUDED] += 1
        else:
            yield item


def selection_of(include: Sequence[str], exclude: Sequence[str], limit: int | None) -> Selection | None:
    """Return the selection that a user asks for; None for all items.

    Raises:
        UsageError: there are too many globs, or one is malformed
    """
    try:
        selection = Selection(include=tuple(include), exclude=tuple(exclude), limit=limit)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise UsageError(f"{first['loc'][0]}: {first['msg']}") from error
    for globs in (selection.include, selection.exclude):
        compiled(globs)
    return selection if include or exclude or limit else None


def named_from(root: str) -> Callable[[Item], str]:
    """Return a function from an item to the name of its file relative to a folder or prefix.

    The name of a shard's member is that of the shard, a slash, and its own in the shard. A file elsewhere has
    its whole URI as its name.
    """
    prefix = root.rstrip("/") + "/"

    def name(item: Item) -> str:
        file = item.uri.removeprefix(prefix)
        return f"{file}/{item.member.name}" if item.member else file

    return name
