"""All settings of the product: flags > TRACE_OCR_ environment > settings file > defaults."""

import json
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, SecretStr, ValidationError, create_model
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from contract.errors import BrokerError, SettingsError, UsageError
from contract.kinds import KINDS, defaults
from contract.kinds.base import Parameters
from contract.settings.api import HttpApi
from contract.settings.delivery import Delivery
from contract.settings.deployment import Deployment
from contract.settings.expectations import Expectations
from contract.settings.images import Images
from contract.settings.jobs import NewJobs
from contract.settings.models import Models
from contract.settings.monitoring import Monitoring
from contract.settings.notifications import Notifications
from contract.settings.remote import RemoteStorage
from contract.settings.turns import Turns
from contract.source import Sample

PREFIX = "TRACE_OCR_"
CONFIG_VARIABLE = "TRACE_OCR_CONFIG"
SECRETS = frozenset({"redis_url", "flower_basic_auth", "api_keys", "notify_secret"})
"""Settings that are no flags, since everybody on a machine sees those."""

HIDDEN = SECRETS | {"notify"}
"""Settings whose values error messages never repeat."""

SHOWN = 200
"""Maximum characters of a refused value that its error message repeats."""

DEFAULT_CONFIG = "trace-ocr.toml"

BROKER_SCHEMES = ("redis", "rediss", "sentinel", "unix")
"""Schemes of the broker's URL, which leads to one server: the ledger's scripts change several keys at once,
which a cluster refuses."""


if TYPE_CHECKING:
    JobDefaults = BaseModel
else:
    JobDefaults = create_model("JobDefaults", **defaults())
"""The parameters of all kinds of jobs, each with its default."""


# The last section's settings come first: that is pydantic's order of the fields of several bases.
class Settings(
    BaseSettings,
    Monitoring,
    HttpApi,
    Turns,
    Delivery,
    Images,
    RemoteStorage,
    Expectations,
    Notifications,
    NewJobs,
    Models,
    Deployment,
    JobDefaults,
):
    """Deployment settings, and the default parameters of new jobs."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, frozen=True, extra="forbid", env_ignore_empty=True, enable_decoding=False
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the base class names them
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return the sources, highest priority first: flags, environment, settings file."""
        config = Path(os.environ.get(CONFIG_VARIABLE, DEFAULT_CONFIG))
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, config)

    @property
    def retention_seconds(self) -> float:
        """Seconds that Redis keeps an ended job."""
        return self.retention_days * 86_400

    def broker_url(self) -> str:
        """Return the Redis URL; raises BrokerError if none is set, or for something other than one server."""
        if self.redis_url is None:
            raise BrokerError(
                f"no broker is set: export {PREFIX}REDIS_URL, e.g. redis://localhost:6379/0 "
                "(or use `trace-ocr run`, which starts its own)"
            )
        url = self.redis_url.get_secret_value()
        scheme, separator, _ = url.partition("://")
        if separator and scheme not in BROKER_SCHEMES:
            raise BrokerError(
                f"{PREFIX}REDIS_URL begins with {scheme[:SHOWN]}://, which is not supported: the broker is "
                f"one Redis server, at {'://, '.join(BROKER_SCHEMES)}://. A Redis Cluster is not "
                "supported: its nodes refuse to change the several keys of a job at once"
            )
        return url

    def parameters_of(self, kind: str, given: Mapping[str, Any] = MappingProxyType({})) -> Parameters:
        """Return the parameters of a new job of a kind.

        Args:
            given: explicit parameters; the others come from the settings

        Raises:
            UsageError: the kind has no parameter of a given name, or needs one that is not given
        """
        wanted = KINDS[kind].parameters
        strange = [name for name in given if name not in wanted.model_fields]
        if strange:
            allowed = ", ".join(wanted.model_fields)
            raise UsageError(f"{', '.join(strange)}: not a parameter of {kind} jobs, which take {allowed}")
        values = {name: given.get(name, getattr(self, name)) for name in wanted.model_fields}
        try:
            return wanted(**values)
        except ValidationError as error:
            problems = (f"{detail['loc'][0]}: {detail['msg']}" for detail in error.errors(include_url=False))
            raise UsageError(f"{kind}: {'; '.join(problems)}") from error

    def sample_of(self, items: int | None = None, seed: int | None = None) -> Sample | None:
        """Return the sample that a new job takes of its source; None for all items.

        Args:
            items, seed: explicit values; those that are None come from the settings
        """
        items = self.sample if items is None else items
        return Sample(items=items, seed=self.seed if seed is None else seed) if items else None

    def chunk_size_of(self, kind: str) -> int:
        """Return the number of items in a chunk of a job of a kind."""
        return self.chunk_size or KINDS[kind].chunk_size


def load_settings(**flags: Any) -> Settings:
    """Return the settings; flags that are None count as not given.

    Raises:
        SettingsError: a value is not allowed; the message names the variable and what is allowed
    """
    config = os.environ.get(CONFIG_VARIABLE)
    if config and not os.path.isfile(config):  # noqa: PTH113 - Path raises where a name is too long
        raise SettingsError(f"{CONFIG_VARIABLE} names {config}, which is not a file: correct or unset it")
    try:
        return Settings(**{name: value for name, value in flags.items() if value is not None})
    except ValidationError as error:
        problems = "; ".join(_problem(dict(detail)) for detail in error.errors(include_url=False))
        raise SettingsError(problems) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        file = config or DEFAULT_CONFIG
        raise SettingsError(f"the settings file {file} cannot be read: {error}") from error
    except (ValueError, RecursionError) as error:
        raise SettingsError(f"the settings cannot be read: {error}") from error


def environment_of(settings: Settings) -> dict[str, str]:
    """Return the TRACE_OCR_ variables that give a child process the same settings.

    Secrets are passed in the environment only, never in process arguments.
    """
    variables = {}
    for name in settings.model_fields_set:
        value = getattr(settings, name)
        if value is None:
            continue
        if isinstance(value, SecretStr):
            value = value.get_secret_value()
        variables[variable_of(name)] = json.dumps(value) if isinstance(value, tuple | dict) else str(value)
    return variables


def variable_of(field: str) -> str:
    """Return the environment variable of a setting."""
    return PREFIX + field.upper()


def _problem(detail: dict[str, Any]) -> str:
    if not detail["loc"]:
        return str(detail["msg"]).removeprefix("Value error, ")
    name = str(detail["loc"][0])
    if detail["type"] == "extra_forbidden":
        return f"{name} is not a setting of trace-ocr: correct its name in the settings file"
    given = "" if name in HIDDEN else f", not {repr(detail['input'])[:SHOWN]}"
    return f"{name} ({variable_of(name)}): {detail['msg'][:1].lower()}{detail['msg'][1:]}{given}"
