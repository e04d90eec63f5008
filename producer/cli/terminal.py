"""Where commands print: text and JSON in which control characters from outside are visible, not obeyed.

Imports nothing slow: failures are printed through this module too.
"""

import shutil
from typing import IO, TYPE_CHECKING, cast

import click
from click.exceptions import NoArgsIsHelpError

from contract.printable import printable, printable_json

if TYPE_CHECKING:
    from contract.storage.streams import TranslatedStream

SHOWN = 400
"""Maximum characters of a wrong command line that its error message repeats."""


def echo(text: str, *, err: bool = False) -> None:
    """Print one line for people."""
    click.echo(printable(text), err=err)


def echo_json(data: bytes) -> None:
    """Print JSON, for people and scripts."""
    click.echo(printable_json(data.decode(errors="replace")))


def copy_json_lines(stream: "TranslatedStream", target: IO[bytes]) -> None:
    """Copy JSON lines, unchanged unless the target is a terminal: there control characters are escaped."""
    if not target.isatty():
        shutil.copyfileobj(cast("IO[bytes]", stream), target)
        return
    for line in stream:
        target.write(printable_json(line.decode(errors="replace")).encode())


def show_usage_error(error: click.ClickException) -> None:
    """Print what click says about a wrong command line, which may repeat any number of arguments."""
    if isinstance(error, NoArgsIsHelpError):
        # Its message is the help itself.
        error.show()
        return
    message = error.format_message()
    if isinstance(error, click.MissingParameter):
        # Click lists choices on lines of their own, and repeats nothing from outside here.
        message = " ".join(message.split())
    context = error.ctx if isinstance(error, click.UsageError) else None
    if context:
        hint = f"Try '{context.command_path} {context.help_option_names[0]}' for help."
        click.echo(f"{context.get_usage()}\n{hint}\n", err=True)
    echo(f"Error: {_shortened(printable(message))}", err=True)


def _shortened(text: str) -> str:
    """Return a text without its middle if it is long: a shell may have replaced `*` by a thousand names."""
    half = SHOWN // 2
    return text if len(text) <= SHOWN else f"{text[:half]} ... {text[-half:]}"
