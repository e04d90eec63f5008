"""`trace-ocr models`: which models there are, and whether one works."""

import os
import sys

import click

from contract.child_processes import python_module
from contract.errors import ExitCode
from contract.settings import Settings, environment_of
from producer.catalogue import list_models
from producer.cli import options, render
from producer.cli.read import print_json
from producer.session import Session


@click.group()
def models() -> None:
    """Models and their weights."""


@models.command("list", cls=options.SettingsCommand)
@options.as_json
@options.with_settings("model_store", *options.REMOTE)
def list_command(settings: Settings, json_output: bool) -> ExitCode:
    """List the models that jobs can name, and where this machine loads each one's weights from."""
    entries = list_models(Session(settings).model_store)
    print_json(entries) if json_output else render.print_models(render.make_console(), entries)
    return ExitCode.OK


@models.command("check", cls=options.SettingsCommand)
@click.argument("name")
@click.option("--image", default="", help="A crop or page to read; by default one is drawn.")
@options.with_settings(*options.MODELS, "max_pixels", *options.REMOTE)
def check(settings: Settings, name: str, image: str) -> None:
    """Load the model NAME as a worker does, read an image with it, and print both as JSON."""
    environment = {**os.environ, **environment_of(settings)}
    # A program of the worker package replaces this process, so that the producer never imports torch.
    program = [*python_module("worker.app.check"), name, image]
    os.execve(sys.executable, program, environment)  # noqa: S606
