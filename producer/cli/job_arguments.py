"""The arguments of the commands that start a job."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, get_args

import click

from contract.kinds import DEFAULT_KIND, KINDS
from contract.region import Level
from contract.settings import Settings
from contract.source import Changed, Regions
from producer.regions import FORMATS
from producer.results.sinks import WRITE_BACK, check_formats
from producer.sources.regions import identify_regions

F = Callable[..., Any]


@dataclass(frozen=True)
class Asked:
    """What the arguments of a command ask for.

    Args:
        sources: as the user names them, in order
        output: the job's workspace
        job_id: id of a new job
        include, exclude: globs of the files that are read, and of those that are not
        limit: number of items
        image_column, id_column, label_column: columns of shards
        changed: the fingerprint that items get
        reuse: the workspace of the job whose lines are taken over
    """

    sources: tuple[str, ...]
    output: str
    kind: str = DEFAULT_KIND
    job_id: str | None = None
    regions: Regions | None = None
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    limit: int | None = None
    image_column: str | None = None
    id_column: str | None = None
    label_column: str | None = None
    changed: Changed | None = None
    reuse: str | None = None
    urgent: bool = False


def asking(*names: str, **helps: str) -> Callable[[F], F]:
    """Give a command arguments of a job, named as in `Asked`, and what they ask for as its argument `asked`.

    Args:
        helps: the descriptions that differ from the usual ones
    """
    flags = [name for name in names if name != "regions"]
    with_regions = "regions" in names

    def decorate(function: F) -> F:
        @functools.wraps(function)
        def wrapped(*settings: Settings, **arguments: Any) -> Any:
            given = {name: arguments.pop(name) for name in flags}
            if with_regions:
                described = (arguments.pop(name) for name in _REGIONS)
                given["regions"] = identify_regions(*described)
            return function(*settings, asked=Asked(**given), **arguments)

        decorated: F = wrapped
        for name in reversed((*flags, *(_REGIONS if with_regions else ()))):
            decorated = _argument(name, helps.get(name))(decorated)
        return decorated

    return decorate


def _argument(name: str, help_text: str | None) -> Callable[[F], F]:
    if name == "sources":
        return click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
    flags, options = _FLAGS[name]
    return click.option(*flags, name, **{**options, **({"help": help_text} if help_text else {})})


_REGIONS = ("regions", "level", "categories")


def _flag(*flags: str, **options: Any) -> tuple[tuple[str, ...], dict[str, Any]]:
    return flags, options


_FLAGS = {
    "output": _flag("-o", "--output", required=True, help="The job's workspace: a folder or remote prefix."),
    "kind": _flag(
        "--kind",
        type=click.Choice(tuple(KINDS)),
        default=DEFAULT_KIND,
        show_default=True,
        help="; ".join(f"{one.name}: {one.help}" for one in KINDS.values()) + ".",
    ),
    "job_id": _flag("--job-id", help="Id of a new job; default: made from the source's name."),
    "regions": _flag(
        "--regions",
        metavar="FORMAT:PATH",
        help="Read the regions of SOURCE's pages that a file, folder or remote prefix describes. "
        f"FORMAT is {', '.join(FORMATS)}.",
    ),
    "level": _flag(
        "--level",
        type=click.Choice(get_args(Level)),
        help="Which of the format's nested regions are read.  [default: the format's usual one]",
    ),
    "categories": _flag(
        "--category", multiple=True, help="Read only regions of this category; may be repeated."
    ),
    "include": _flag(
        "--include",
        multiple=True,
        metavar="GLOB",
        help="Read only files whose names, relative to SOURCE, match: '2026/**/*.{png,jpg}'. Without "
        "a slash, it matches in any folder. May be repeated.",
    ),
    "exclude": _flag(
        "--exclude", multiple=True, metavar="GLOB", help="Leave files out that match; may be repeated."
    ),
    "limit": _flag(
        "--limit", type=click.IntRange(1), metavar="N", help="Read only the first N items; list no more."
    ),
    "image_column": _flag(
        "--image-column",
        metavar="NAME",
        help="Of shards, the column of images; of tar and zip, their extension.",
    ),
    "id_column": _flag("--id-column", metavar="NAME", help="Of shards, the column of ids."),
    "label_column": _flag(
        "--label-column", metavar="NAME", help="Of shards, the column of labels, the correct texts."
    ),
    "changed": _flag(
        "--changed",
        type=click.Choice(get_args(Changed)),
        help="Record what tells that a file has changed, so that later jobs can reuse the lines of "
        "the others.",
    ),
    "reuse": _flag(
        "--reuse",
        metavar="WORKSPACE",
        help="Take over the lines of a finished job for files with the same etag or sha256.",
    ),
    "urgent": _flag("--urgent", is_flag=True, help="Overtake jobs that are not urgent."),
}

SELECTING = ("include", "exclude", "limit", "image_column", "id_column", "label_column")
"""Arguments that say which items of a source are read."""


_WRITE_BACK = click.option(
    "--write-back",
    is_flag=True,
    help="Write copies of the files of the regions, with the texts in them, to exports/ in the workspace.",
)


def with_write_back(function: F) -> F:
    """Give a command with settings and a kind a flag that adds the regions' files to the exports."""

    @functools.wraps(function)
    def wrapped(settings: Settings, write_back: bool, **others: Any) -> Any:
        if write_back:
            check_formats((WRITE_BACK,), others["kind"])
        if write_back and WRITE_BACK not in settings.exports:
            settings = settings.model_copy(update={"exports": (*settings.exports, WRITE_BACK)})
        return function(settings, **others)

    return _WRITE_BACK(wrapped)
