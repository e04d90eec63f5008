"""Flags made from the settings: a command is handed the settings in force."""

from typing import Any

import click
import pytest
from click.testing import CliRunner

from contract.errors import SettingsError
from contract.settings import Settings
from producer.cli import options

pytestmark = pytest.mark.usefixtures("restored_logging", "settings")


@pytest.fixture
def call() -> Any:
    """Call a command that has two settings' flags; return the settings it was handed."""
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


def test_without_flags_the_environment_has_the_word(call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACE_OCR_CHUNK_SIZE", "9")

    assert call().chunk_size == 9


def test_every_command_takes_the_log_settings(call: Any) -> None:
    assert call("--log-level", "error").log_level == "error"


def test_a_value_that_is_not_allowed_is_our_error(call: Any) -> None:
    with pytest.raises(SettingsError, match="TRACE_OCR_CHUNK_SIZE"):
        call("--chunk-size", "0")


@pytest.mark.parametrize("group", [options.JOB, options.STORAGE, options.WORKER, options.LOGS])
def test_every_flag_is_a_setting(group: tuple[str, ...]) -> None:
    assert set(group) <= set(Settings.model_fields)
