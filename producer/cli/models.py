"""`trace-ocr models`: which weights are available."""

import click
from rich.console import Console

from contract.errors import ExitCode
from contract.model_store import ModelStore
from contract.settings import Settings
from contract.storage import Storage
from producer.catalogue import list_models
from producer.cli import options, render
from producer.cli.read import print_json


@click.group()
def models() -> None:
    """Architectures and their weights."""


@models.command("list", cls=options.SettingsCommand)
@options.as_json
@options.with_settings("model_store", *options.S3)
def list_command(settings: Settings, json_output: bool) -> ExitCode:
    """List the architectures, and where this machine loads each one's weights from."""
    storage = Storage(settings)
    entries = list_models(ModelStore(settings.model_store, storage) if settings.model_store else None)
    print_json(entries) if json_output else render.print_models(Console(), entries)
    return ExitCode.OK
