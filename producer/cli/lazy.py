"""A group that imports a command when it is called, so that each command loads only what it uses."""

import importlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import click


class Place(NamedTuple):
    """Where a command is defined, and its summary in the group's help.

    Args:
        module: the full name of the module
        attribute: the name of the command in the module
        summary: one line for the group's help; the command's own help has the details
    """

    module: str
    attribute: str
    summary: str


class LazyGroup(click.Group):
    """A group of commands that are imported by name.

    Args:
        sections: the commands' places by name, under the headings of the group's help
    """

    def __init__(self, *args: Any, sections: Mapping[str, Mapping[str, Place]], **options: Any) -> None:
        super().__init__(*args, **options)
        self._sections = sections
        self.places = {name: place for section in sections.values() for name, place in section.items()}

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - the base class names it
        """Return the names of the commands, in the order of the help."""
        return list(self.places)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import a command; None if there is no command of that name."""
        if cmd_name not in self.places:
            return None
        place = self.places[cmd_name]
        command: click.Command = getattr(importlib.import_module(place.module), place.attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the sections of the help without importing any command."""
        for title, section in self._sections.items():
            with formatter.section(title):
                formatter.write_dl([(name, place.summary) for name, place in section.items()])
