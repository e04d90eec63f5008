"""Command-line flags made from the settings, so that each is described once and names its variable."""

import functools
import types
import typing
from collections.abc import Callable
from typing import Any

import click
from pydantic.fields import FieldInfo

from contract.kinds import job_parameters
from contract.logs import configure_logging
from contract.settings import Settings, load_settings, variable_of
from producer.results.sinks import check_formats

JOB = (*job_parameters(), "exports", "chunk_size")
STORAGE = ("s3_endpoint_url", "s3_region", "s3_path_style")
WORKER = (
    "devices",
    "model_store",
    "allowed_roots",
    "decode_threads",
    "fetch_threads",
    "max_bytes",
    "max_document_bytes",
    "max_pixels",
)
LOGS = ("log_level", "log_format")

F = Callable[..., Any]

as_json = click.option("--json", "json_output", is_flag=True, help="Print JSON, for scripts.")
job_or_workspace = click.argument("job", metavar="JOB|WORKSPACE")


def with_settings(*fields: str) -> Callable[[F], F]:
    """Give a command a flag for each setting, and the settings in force as its first argument."""
    names = (*fields, *LOGS)

    def decorate(command: F) -> F:
        @functools.wraps(command)
        def wrapped(**arguments: Any) -> Any:
            flags = {name: arguments.pop(name) for name in names}
            settings = load_settings(**flags)
            configure_logging(settings)
            if "kind" in arguments:
                _check_kind(settings, arguments["kind"], flags)
            return command(settings, **arguments)

        decorated: F = wrapped
        for name in reversed(names):
            decorated = _option(name, Settings.model_fields[name])(decorated)
        return decorated

    return decorate


def _check_kind(settings: Settings, kind: str, flags: dict[str, Any]) -> None:
    """Raise UsageError for a flag that means nothing to the kind of job; the environment may set any."""
    given = {name: value for name, value in flags.items() if value is not None}
    settings.parameters_of(kind, {name: given[name] for name in job_parameters() if name in given})
    if "exports" in given:
        check_formats(settings.exports, kind)


def _option(name: str, field: FieldInfo) -> Callable[[F], F]:
    flag = "--" + name.replace("_", "-")
    # No default here: a flag that is not given must leave the word to the environment and the file.
    help_text = f"{field.description}  [env: {variable_of(name)}; default: {_shown(field.default)}]"
    if field.annotation is bool:
        return click.option(f"{flag}/--no-{flag[2:]}", name, default=None, help=help_text)
    return click.option(flag, name, default=None, help=help_text, metavar=_metavar(field.annotation))


def _shown(default: object) -> str:
    return "none" if default in (None, ()) else str(default)


def _metavar(annotation: Any) -> str:
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        annotation = typing.get_args(annotation)[0]
    return {int: "N", float: "NUMBER"}.get(annotation, "TEXT")
