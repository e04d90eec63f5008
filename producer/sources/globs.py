"""Globs over the names of a source's files, in linear time: they may come over HTTP."""

import re
from collections.abc import Callable, Iterable, Iterator
from itertools import takewhile
from os.path import commonpath

import bracex
import re2

from contract.errors import UsageError
from contract.records import SHOWN

MAX_BRACES = 1_000
"""Maximum globs that one glob's braces stand for."""

MAX_FOLDERS = 100
"""Maximum folders that are listed one by one: above, listing all of them at once takes fewer requests."""

MAX_MEMORY = 16 << 20
"""Maximum memory in bytes of the compiled globs of one job."""

_SPECIAL = re.compile(r"[*?\[\\]")
_TOKEN = re.compile(r"(\*\*/)|(\*\*)|(\*)|(\?)|\[([!^]?)(\]?[^\]/]*)\]|\\(.)|(.)", re.DOTALL)


def compiled(globs: Iterable[str]) -> Callable[[str], bool]:
    """Return a function that says whether one of the globs matches a name in full.

    `*` and `?` match no slash, `**` any number of folders, `{a,b}` either text, `[a-z]` one character. A glob
    without a slash matches the last part of a name, in any folder; a slash at its start means the top.

    Raises:
        UsageError: a glob is malformed, or all together are too large
    """
    options = re2.Options()
    options.log_errors, options.max_mem, options.dot_nl = False, MAX_MEMORY, True
    expressions = [_expression(one) for glob in globs for one in _without_braces(glob)]
    try:
        # Bytes: for text, re2 takes twice as long.
        matcher = re2.compile("|".join(expressions).encode(), options)
    except (re2.error, UnicodeError) as error:
        raise UsageError(f"these globs are malformed or too many: {', '.join(globs)[:SHOWN]}") from error
    return lambda name: matcher.fullmatch(name.encode()) is not None


def folders_of(globs: Iterable[str]) -> tuple[str, ...]:
    """Return the folders that hold every name that one of the globs can match, sorted, none within another.

    Each ends in a slash, but an empty one, which stands for all folders.

    Raises:
        UsageError: braces stand for too many globs
    """
    expanded = (one for glob in globs for one in _without_braces(glob))
    found: list[str] = []
    for folder in sorted(set(map(_literal_folder, expanded)), key=str.encode):
        if not (found and folder.startswith(found[-1])):
            found.append(folder)
    if len(found) > MAX_FOLDERS:
        common = commonpath(found)
        return (f"{common}/" if common else "",)
    return tuple(found)


def _literal_folder(glob: str) -> str:
    """Return the folders at the beginning of a glob without braces that are names and no patterns."""
    *folders, _ = glob.removeprefix("./").removeprefix("/").split("/")
    names = takewhile(lambda name: name.strip(".") and not _SPECIAL.search(name), folders)
    return "".join(f"{name}/" for name in names)


def _without_braces(glob: str) -> Iterator[str]:
    try:
        yield from bracex.iexpand(glob, keep_escapes=True, limit=MAX_BRACES)
    except bracex.ExpansionLimitException as error:
        raise UsageError(
            f"the braces of {glob[:SHOWN]!r} stand for more than {MAX_BRACES:,} globs"
        ) from error


def _expression(glob: str) -> str:
    below = glob.removeprefix(".") if glob.startswith("./") else glob
    anywhere = "" if "/" in below else "(?:.*/)?"
    return "(?:" + anywhere + "".join(map(_translated, _TOKEN.finditer(below.removeprefix("/")))) + ")"


def _translated(token: re.Match[str]) -> str:
    folders, rest, star, one, negated, characters, escaped, literal = token.groups()
    if folders:
        return "(?:.*/)?"
    if rest:
        return ".*"
    if star:
        return "[^/]*"
    if one:
        return "[^/]"
    if characters:
        inner = re.sub(r"([\\\[\]^&~|])", r"\\\1", characters)
        return f"[^/{inner}]" if negated else f"[{inner}]"
    return str(re2.escape(escaped or literal or token.group()))
