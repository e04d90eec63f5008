"""What the deployment says to the program is what the program understands."""

import re
import shlex

import click
import pytest

from contract.settings import CONFIG_VARIABLE, PREFIX, Settings, load_settings, variable_of
from tests.unit.deploy.deployment import (
    DEPLOY,
    SECRETS,
    SYSTEMD,
    commands,
    commands_in_script,
    compose,
    container_of,
    last,
    of_kind,
    parse,
    pods,
    texts,
    units,
)

COMMANDS = list(commands())


@pytest.mark.parametrize(("where", "words"), COMMANDS, ids=[where for where, _ in COMMANDS])
def test_every_command_line_is_one_that_the_program_takes(where: str, words: list[str]) -> None:
    assert parse(words)


def test_all_kinds_of_processes_are_deployed_everywhere() -> None:
    for place in ("compose", "Kubernetes", "systemd"):
        started = {words[0] for where, words in COMMANDS if where.startswith(place)}
        assert started >= {"api", "control", "flower", "worker"}


@pytest.mark.parametrize(
    "words", [["serve"], ["worker", "--gpus", "0"], ["submit", "s3://a/"], ["api", "--api-port"]]
)
def test_a_command_line_that_the_program_does_not_take_is_noticed(words: list[str]) -> None:
    with pytest.raises(click.UsageError):
        parse(words)


def test_commands_are_found_in_shell_scripts() -> None:
    script = "set -e\ntrace-ocr watch a || x=$?\nif y; then trace-ocr errors b | head; fi # trace-ocr c"

    assert list(commands_in_script(script)) == [["watch", "a"], ["errors", "b"]]


def test_every_variable_of_ours_that_is_named_exists() -> None:
    known = {variable_of(name) for name in Settings.model_fields} | {CONFIG_VARIABLE}

    named = {
        (path.relative_to(DEPLOY.parent).as_posix(), name)
        for path, text in texts()
        for name in re.findall(rf"{PREFIX}[A-Z0-9_]+", text)
    }

    assert len({name for _, name in named}) > 10
    assert {(path, name) for path, name in named if name not in known} == set()


def set_all(monkeypatch: pytest.MonkeyPatch, environment: dict[str, object]) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, str(value))


@pytest.mark.parametrize("service", ["api", "control", "flower", "worker", "worker-gpu1", "cli"])
@pytest.mark.parametrize("filled_in", [SECRETS, {**SECRETS, "REDIS_PASSWORD": ""}], ids=["password", "none"])
def test_the_settings_of_every_compose_service_are_valid(
    service: str, filled_in: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    set_all(monkeypatch, compose(filled_in)["services"][service]["environment"])

    settings = load_settings()

    password = f":{filled_in['REDIS_PASSWORD']}@" if filled_in["REDIS_PASSWORD"] else ""
    assert settings.broker_url() == f"redis://{password}redis:6379/0"
    assert settings.s3_path_style == (service != "flower")


@pytest.mark.parametrize("name", ["api", "control", "flower", "nightly", "worker"])
def test_the_settings_of_every_pod_are_valid(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    set_all(monkeypatch, of_kind("ConfigMap")["trace-ocr"]["data"])
    variables = {entry["name"]: entry.get("value", "0a1b") for entry in container_of(pods()[name])["env"]}
    url = variables["TRACE_OCR_REDIS_URL"].replace("$(REDIS_PASSWORD)", variables["REDIS_PASSWORD"])
    monkeypatch.setenv("TRACE_OCR_REDIS_URL", url)

    settings = load_settings()

    assert settings.broker_url() == "redis://:0a1b@redis:6379/0"
    assert settings.allowed_roots == ("s3://scans/", "s3://results/")


def test_the_settings_of_the_images_are_valid_and_listen_where_others_reach_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    set_all(monkeypatch, dict(pair.split("=", 1) for pair in shlex.split(last("producer", "ENV"))))

    settings = load_settings()

    assert (settings.api_address, settings.flower_address) == ("0.0.0.0", "0.0.0.0")
    assert settings.api_auth == "on"


def test_the_settings_of_the_units_are_valid(monkeypatch: pytest.MonkeyPatch) -> None:
    example = (SYSTEMD / "trace-ocr.env.example").read_text()
    set_all(
        monkeypatch,
        dict(line.split("=", 1) for line in example.splitlines() if "=" in line and line[0] != "#"),
    )
    for settings in units().values():
        for name, value in settings:
            if name == "Environment":
                set_all(monkeypatch, dict(pair.split("=", 1) for pair in shlex.split(value)))

    assert load_settings().shutdown_grace_seconds == 120


def test_no_secret_stands_in_a_file() -> None:
    """Given every line that gives a password, key or credential a value: the value comes from elsewhere."""
    named = re.compile(
        r"^[#\s-]*(?P<name>[A-Z0-9_]*(?:PASSWORD|SECRET|ACCESS_KEY|API_KEYS?|BASIC_AUTH|REDISCLI_AUTH)[A-Z0-9_]*)"
        r"[=:] *(?P<value>.*)$",
        re.MULTILINE,
    )
    found = [
        (path.name, match["name"], match["value"].strip())
        for path, text in texts()
        for match in named.finditer(text)
    ]

    assert {name for _, name, _ in found} >= {"AWS_SECRET_ACCESS_KEY", "REDIS_PASSWORD", "TRACE_OCR_API_KEYS"}
    assert [line for line in found if not re.fullmatch(r'|""|\$\{\w+:[-?][^}]*\}', line[2])] == []


def test_no_password_stands_in_an_address() -> None:
    inside = [match for _, text in texts() for match in re.findall(r"\w+://[^\s/\"$]*:([^\s/\"@]+)@", text)]

    assert {password for password in inside if not password.startswith("$")} == set()
