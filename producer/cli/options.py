"""Command-line flags generated from the settings: each is described once and names its variable."""

import functools
import os
import types
import typing
from collections.abc import Callable
from typing import Any

import click
from pydantic.fields import FieldInfo

from contract.kinds import job_parameters
from contract.logs import configure_logging
from contract.settings import SECRETS, Settings, load_settings, variable_of
from contract.settings.api import HttpApi
from contract.settings.expectations import Expectations
from contract.settings.remote import RemoteStorage
from contract.tracing import configure_tracing
from producer.results.checking import check_suited
from producer.results.sinks import check_formats

CHECKS = tuple(Expectations.model_fields)
JOB = (
    *job_parameters(),
    "exports",
    "results",
    "chunk_size",
    "sample",
    "seed",
    *CHECKS,
    "tags",
    "metadata",
    "notify",
    "notify_hosts",
)
SENDING = ("notify_networks", "api_url")
"""Settings of commands that send notifications."""
TURN = ("tenant", "priority", "deadline", "at_deadline", "timezone")
"""Settings that say when a new job's turn comes."""
MODELS = ("devices", "model_store", "runtime", "precision", "torch_compile", "cuda_graphs", "preload")
LIMITS = ("max_bytes", "max_document_bytes", "max_pixels")
IMAGES = ("feeders", "decode_threads", "fetch_threads", *LIMITS, "decode_seconds", "decode_memory")
REMOTE = (*RemoteStorage.model_fields, "list_threads")
"""Settings of how remote storage is reached."""
STORAGE = ("allowed_roots", "umask", *REMOTE)
REDIS = ("namespace",)
DELIVERY = ("visibility_timeout", "lease_seconds", "stall_seconds", "retention_days")
"""Settings of how long to wait for a chunk or a worker, and how long to keep an ended job."""

API = (*(name for name in HttpApi.model_fields if name not in SECRETS), "expected_workers", "flower_url")
FLOWER = ("flower_address", "flower_port", "flower_database")
LOGS = ("log_level", "log_format")

WATCHING = (*STORAGE, *REDIS)
"""Settings of every command that looks up a job."""

SECTIONS = {
    "The job": (*JOB, *TURN),
    "Models": MODELS,
    "Images": IMAGES,
    "Storage": STORAGE,
    "Redis and delivery": (
        *REDIS,
        *DELIVERY,
        "tenants",
        "chunk_share",
        "reconcile_seconds",
        "shutdown_grace_seconds",
        "ready_folder",
    ),
    "Notifications": SENDING,
    "HTTP API": API,
    "Flower": FLOWER,
    "Log": LOGS,
}
"""Headings in a command's help, in order."""

MAX_CHOICES = 40
"""Maximum characters of a flag's choices in its metavar; the description lists longer ones."""

F = Callable[..., Any]


class SettingOption(click.Option):
    """The flag of a setting."""


class SettingsCommand(click.Command):
    """A command whose help shows the flags of settings under headings, after the command's own flags."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options of the help."""
        parameters = self.get_params(ctx)
        flags = {one.name: one for one in parameters if isinstance(one, SettingOption)}
        own = [one for one in parameters if isinstance(one, click.Option) and one.name not in flags]
        sections: dict[str, list[click.Option]] = {"Options": own}
        for title, names in SECTIONS.items():
            sections[title] = [flags[name] for name in names if name in flags]
        for title, shown in sections.items():
            records = [record for one in shown if (record := one.get_help_record(ctx))]
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)


command = functools.partial(click.command, cls=SettingsCommand)
"""A decorator like `click.command`, for commands `with_settings`."""

as_json = click.option("--json", "json_output", is_flag=True, help="Print JSON, for scripts.")
job_or_workspace = click.argument("job", metavar="JOB|WORKSPACE")


def with_settings(*fields: str) -> Callable[[F], F]:
    """Give a command a flag for each setting, and the resulting settings as its first argument."""
    names = (*fields, *LOGS)

    def decorate(function: F) -> F:
        @functools.wraps(function)
        def wrapped(**arguments: Any) -> Any:
            flags = {name: arguments.pop(name) for name in names}
            settings = load_settings(**flags)
            configure_logging(settings)
            configure_tracing(function.__name__)
            if settings.umask is not None:
                os.umask(int(settings.umask, 8))
            if "kind" in arguments:
                _check_kind(settings, arguments["kind"], flags)
            return function(settings, **arguments)

        decorated: F = wrapped
        for name in reversed(names):
            decorated = _option(name, Settings.model_fields[name])(decorated)
        return decorated

    return decorate


def _check_kind(settings: Settings, kind: str, flags: dict[str, Any]) -> None:
    """Raise UsageError for a flag that does not apply to the kind of job; the environment may set any."""
    given = {name: value for name, value in flags.items() if value is not None}
    settings.parameters_of(kind, {name: given[name] for name in job_parameters() if name in given})
    check_suited(given, kind)
    if "exports" in given:
        check_formats(settings.exports, kind)
    if "results" in given:
        check_formats(settings.results, kind, "results")


def _option(name: str, field: FieldInfo) -> Callable[[F], F]:
    flag = "--" + name.replace("_", "-")
    # No default here: without the flag, the environment and the settings file decide.
    help_text = f"{field.description}  [env: {variable_of(name)}; default: {_shown(field.default)}]"
    if field.annotation is bool:
        return click.option(f"{flag}/--no-{flag[2:]}", name, cls=SettingOption, default=None, help=help_text)
    several = typing.get_origin(_unwrapped(field.annotation)) in (tuple, dict)
    return click.option(
        flag,
        name,
        cls=SettingOption,
        default=None,
        help=help_text,
        metavar=_metavar(field.annotation),
        multiple=several,
        callback=_joined if several else None,
    )


def _joined(_: click.Context, __: click.Parameter, given: tuple[str, ...]) -> str | None:
    """Return the values of a flag of a list, which may be given several times, as one of commas."""
    return ",".join(given) if given else None


def _unwrapped(annotation: Any) -> Any:
    """Return a type without the None that it may be."""
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return typing.get_args(annotation)[0]
    return annotation


def _shown(default: object) -> str:
    if isinstance(default, tuple | dict):
        return ",".join(default) or "none"
    return "none" if default is None else str(default)


def _metavar(annotation: Any) -> str:
    annotation = _unwrapped(annotation)
    if typing.get_origin(annotation) is typing.Literal:
        choices = "|".join(typing.get_args(annotation))
        return choices if len(choices) <= MAX_CHOICES else "NAME"
    return {int: "N", float: "NUMBER"}.get(annotation, "TEXT")
