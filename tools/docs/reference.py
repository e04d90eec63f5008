"""The reference, made of the program itself: commands, settings, and the routes of the HTTP API."""

import json
from collections.abc import Iterator
from typing import Any

import click
from pydantic import SecretStr

from contract.settings import HIDDEN, Settings, variable_of
from producer.api.app import make_app
from producer.api.security.keys import Keyring
from producer.api.services import Services
from producer.cli.main import cli

COMPUTED = dict.fromkeys(("decode_threads", "feeders"), "half the cores, at most 8")
"""What is said of defaults that follow the machine."""


def commands() -> str:
    """Return a page with the help of every command."""
    context = click.Context(cli, info_name="trace-ocr", max_content_width=100, terminal_width=100)
    parts = ["# Commands", "What `--help` says. [The guide](../docs/command-line.md) explains more.\n"]
    for name in sorted(cli.list_commands(context)):
        command = cli.get_command(context, name)
        assert command
        parts += _command(command, click.Context(command, parent=context, info_name=name), 2)
    return "\n".join(parts) + "\n"


def _command(command: click.Command, context: click.Context, level: int) -> Iterator[str]:
    yield f"{'#' * level} {context.command_path}\n"
    yield f"```text\n{command.get_help(context)}\n```\n"
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner
            yield from _command(inner, click.Context(inner, parent=context, info_name=name), level + 1)


def settings() -> str:
    """Return a page with every setting: its variable, its default and what it is for."""
    rows = [
        f"| `{name}`<br>`{variable_of(name)}` | {_default(name)} | {_cell(field.description or '')} |"
        for name, field in sorted(Settings.model_fields.items())
    ]
    head = (
        "# Settings\n"
        "A flag overrides the variable, which overrides `trace-ocr.toml`. Secrets are never flags.\n"
        "`trace-ocr doctor --all` shows the values in force, and where each comes from.\n\n"
        "| setting, variable | default | |\n|---|---|---|\n"
    )
    return head + "\n".join(rows) + "\n"


def _default(name: str) -> str:
    field = Settings.model_fields[name]
    if name in COMPUTED:
        return COMPUTED[name]
    if name in HIDDEN or field.default in (None, (), {}):
        return "none"
    shown = field.default if isinstance(field.default, str) else json.dumps(field.default, default=str)
    return f"`{_cell(shown)}`" if shown else "none"


def openapi() -> dict[str, Any]:
    """Return the API's own description."""
    described: dict[str, Any] = make_app(_services()).openapi()
    return described


def _services() -> Services:
    # Nothing connects while routes are described.
    return Services(Settings(redis_url=SecretStr("redis://localhost:6379/0")), Keyring((), required=False))


def http() -> str:
    """Return a page with every route, its parameters and its answers."""
    described = openapi()
    parts = [
        "# Routes",
        "[openapi.json](openapi.json) is the whole description; `/docs` of a running API tries the routes.\n",
    ]
    for path, methods in sorted(described["paths"].items()):
        for method, operation in methods.items():
            parts += _operation(method, path, operation)
    return "\n".join(parts) + "\n"


def _operation(method: str, path: str, operation: dict[str, Any]) -> Iterator[str]:
    yield f"## {method.upper()} {path}\n"
    yield f"{operation.get('description', operation.get('summary', ''))}\n"
    parameters = operation.get("parameters", ())
    if parameters:
        yield "| parameter | in | |\n|---|---|---|"
        for one in parameters:
            yield f"| `{one['name']}` | {one['in']} | {_cell(one.get('description', ''))} |"
        yield ""
    answers = [
        f"{status} {_cell(answer['description'])}" for status, answer in operation["responses"].items()
    ]
    yield "Answers: " + "; ".join(answers) + ".\n"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
