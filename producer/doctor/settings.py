"""The settings in force, where each one comes from, and variables that no setting has."""

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from contract.redaction import redacted
from contract.settings import (
    CONFIG_VARIABLE,
    DEFAULT_CONFIG,
    HIDDEN,
    PREFIX,
    Settings,
    load_settings,
    variable_of,
)
from producer.doctor.finding import Finding, doubtful, good

UNSEEN = "(set)"
"""What is shown instead of a value that may hold a secret."""


@dataclass(frozen=True)
class SettingInForce:
    """One setting: its value as text, and `flag`, `environment`, the settings file's path, or `default`."""

    name: str
    value: str
    origin: str


def settings_in_force(settings: Settings, environment: Mapping[str, str]) -> list[SettingInForce]:
    """Return every setting; the values of secrets are hidden."""
    given = {name.upper() for name, value in environment.items() if value}
    path = environment.get(CONFIG_VARIABLE, DEFAULT_CONFIG)
    in_file = _names_in(Path(path))
    without_flags = load_settings()

    def origin(name: str) -> str:
        if getattr(settings, name) != getattr(without_flags, name):
            return "flag"
        if variable_of(name) in given:
            return "environment"
        return path if name in in_file else "default"

    return [
        SettingInForce(name, _shown(name, getattr(settings, name)), origin(name))
        for name in type(settings).model_fields
    ]


def check_settings(settings: Settings, environment: Mapping[str, str]) -> Iterator[Finding]:
    """Yield what is wrong with the settings as such; values that are not allowed end the command earlier."""
    known = {variable_of(name) for name in Settings.model_fields} | {CONFIG_VARIABLE}
    strange = sorted(
        name for name in environment if name.upper().startswith(PREFIX) and name.upper() not in known
    )
    for name in strange:
        close = get_close_matches(name.upper(), known, 1)
        advice = f"did you mean {close[0]}?" if close else "unset it"
        yield doubtful("settings", f"{name} is no setting, so it changes nothing", advice)
    if not strange:
        yield good("settings", f"{len(settings.model_fields_set)} are set, all of them known")
    if not settings.allowed_roots:
        yield doubtful(
            "settings",
            f"{variable_of('allowed_roots')} is empty: jobs over HTTP are refused, and workers read nothing",
            "set it to the folders and prefixes that hold sources and workspaces",
        )


def _names_in(path: Path) -> frozenset[str]:
    if not path.is_file():
        return frozenset()
    return frozenset(tomllib.loads(path.read_text()))


def _shown(name: str, value: object) -> str:
    if name in HIDDEN and value:
        return UNSEEN
    if isinstance(value, tuple):
        return ",".join(map(str, value)) or "none"
    return "none" if value is None else redacted(str(value))
