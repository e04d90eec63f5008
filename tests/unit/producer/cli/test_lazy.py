"""Commands are imported when they are called."""

import subprocess
import sys

import click
import pytest

from producer.cli.main import cli

HEAVY = ("asyncio", "boto3", "celery", "kombu", "msgspec", "PIL", "pydantic", "redis", "rich", "structlog")

SCRIPT = """
import sys
sys.argv = ["trace-ocr", *sys.argv[2].split()]
from producer.cli.main import cli
cli.main(standalone_mode=False)
print(*sys.modules)
"""


@pytest.mark.parametrize("words", ["--help", "--version"])
def test_help_imports_nothing_heavy(words: str) -> None:
    command = [sys.executable, "-c", SCRIPT, "-", words]

    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout

    assert set(shown.splitlines()[-1].split()).isdisjoint(HEAVY)


def test_an_unknown_command_is_a_usage_error() -> None:
    with pytest.raises(click.UsageError, match="serve"):
        cli.main(["serve"], standalone_mode=False)


@pytest.mark.parametrize("name", sorted(cli.places))
def test_every_place_holds_the_command_of_its_name(name: str) -> None:
    command = cli.get_command(click.Context(cli), name)

    assert command is not None
    assert command.name == name
