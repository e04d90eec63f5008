"""Flags generated from the settings: a command gets the resulting settings."""

from itertools import chain
from typing import Any

import click
import pytest
from click.testing import CliRunner

from contract.errors import SettingsError
from contract.settings import SECRETS, Settings
from producer.cli import options
from producer.cli.main import cli

pytestmark = pytest.mark.usefixtures("restored_logging", "settings")


@pytest.fixture
def call() -> Any:
    """Call a command that has the flags of two settings; return the settings it got."""
    handed: list[Settings] = []

    @click.command()
    @click.option("--other", default="unchanged")
    @options.with_settings("chunk_size", "s3_path_style")
    def command(settings: Settings, other: str) -> None:
        assert other == "unchanged"
        handed.append(settings)

    def call(*arguments: str) -> Settings:
        CliRunner().invoke(command, arguments, catch_exceptions=False, standalone_mode=False)
        return handed[-1]

    return call


def test_a_flag_sets_its_setting(call: Any) -> None:
    assert call("--chunk-size", "7").chunk_size == 7


@pytest.mark.parametrize(("flag", "expected"), [("--s3-path-style", True), ("--no-s3-path-style", False)])
def test_a_boolean_setting_has_a_flag_for_each_answer(
    flag: str, expected: bool, call: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACE_OCR_S3_PATH_STYLE", str(not expected))

    assert call(flag).s3_path_style is expected


def test_without_flags_the_environment_decides(call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACE_OCR_CHUNK_SIZE", "9")

    assert call().chunk_size == 9


def test_every_command_takes_the_log_settings(call: Any) -> None:
    assert call("--log-level", "error").log_level == "error"


def test_an_invalid_value_is_a_settings_error(call: Any) -> None:
    with pytest.raises(SettingsError, match="TRACE_OCR_CHUNK_SIZE"):
        call("--chunk-size", "0")


def flags() -> dict[str, dict[str, click.Option]]:
    """Return the settings that are flags, with the flag of each command that has it."""
    found: dict[str, dict[str, click.Option]] = {}
    context = click.Context(cli)
    for name in cli.list_commands(context):
        command = cli.get_command(context, name)
        commands = [*command.commands.values()] if isinstance(command, click.Group) else [command]
        for parameter in chain.from_iterable(one.params for one in commands if one):
            if isinstance(parameter, options.SettingOption):
                found.setdefault(str(parameter.name), {})[name] = parameter
    return found


def test_every_setting_but_a_secret_is_a_flag() -> None:
    """Arguments are visible to everyone on the machine; the environment is not."""
    assert set(flags()) == set(Settings.model_fields) - SECRETS


def test_no_command_has_a_flag_twice() -> None:
    context = click.Context(cli)
    commands = {name: cli.get_command(context, name) for name in cli.list_commands(context)}
    names = {
        name: [flag for one in command.params for flag in one.opts]
        for name, command in commands.items()
        if command
    }

    assert {name for name, given in names.items() if len(given) != len(set(given))} == set()


def test_every_secret_is_marked_as_one() -> None:
    typed = {name for name, field in Settings.model_fields.items() if "SecretStr" in str(field.annotation)}

    assert typed <= SECRETS


@pytest.mark.parametrize(
    ("setting", "commands"),
    [
        ("precision", ["run", "compare", "nightly", "models", "worker"]),
        # `run` sets its own grace for running chunks.
        ("shutdown_grace_seconds", ["worker"]),
        ("chunk_share", ["worker"]),
        ("reconcile_seconds", ["run", "compare", "nightly", "control"]),
        ("flower_port", ["flower"]),
    ],
)
def test_a_setting_is_a_flag_only_where_it_has_an_effect(setting: str, commands: list[str]) -> None:
    assert [*flags()[setting]] == commands


def test_every_command_that_uses_redis_takes_its_namespace() -> None:
    without = {"api-key", "evaluate", "models", "notify"}

    assert set(flags()["namespace"]) == set(cli.places) - without


def test_help_shows_every_flag_under_a_heading() -> None:
    headed = list(chain.from_iterable(options.SECTIONS.values()))

    assert sorted(headed) == sorted(flags())


def test_the_help_of_every_flag_names_its_variable_and_its_default() -> None:
    for name, by_command in flags().items():
        for option in by_command.values():
            assert f"[env: TRACE_OCR_{name.upper()}; default: " in str(option.help)
