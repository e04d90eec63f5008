"""All settings of the product: flags > TRACE_OCR_ environment > settings file > defaults."""

import ipaddress
import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    BaseModel,
    Field,
    SecretStr,
    ValidationError,
    create_model,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from contract.checks import MAX_EXPRESSION, RuleText, ValidatorName
from contract.cores import available_cores
from contract.errors import BrokerError, SettingsError, UnsupportedUriError, UsageError
from contract.job import (
    DEFAULT_TENANT,
    MAX_CHUNK_SIZE,
    MAX_PRIORITY,
    MAX_RECEIVERS,
    MAX_SAMPLE,
    MAX_URL,
    TENANT,
    AtDeadline,
    Export,
    Metadata,
    Sample,
    Tags,
)
from contract.kinds import KINDS, KindName, defaults
from contract.kinds.base import Parameters, json_value
from contract.storage import absolute
from contract.tenants import parse_tenants

PREFIX = "TRACE_OCR_"
CONFIG_VARIABLE = "TRACE_OCR_CONFIG"
SECRETS = frozenset({"redis_url", "flower_basic_auth", "api_keys", "notify_secret"})
"""Settings that are no flags, since everybody on a machine sees those."""

HIDDEN = SECRETS | {"notify"}
"""Settings whose values error messages never repeat."""

_LISTS = (
    "allowed_roots",
    "preload",
    "api_keys",
    "api_cors_origins",
    "api_allowed_hosts",
    "exports",
    "results",
)

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


class Settings(BaseSettings, JobDefaults):
    """Deployment settings, and the default parameters of new jobs."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, frozen=True, extra="forbid", env_ignore_empty=True, enable_decoding=False
    )

    redis_url: SecretStr | None = Field(
        None, description="redis://, rediss://, unix:// or sentinel:// URL of the broker"
    )
    namespace: str = Field(
        "trace-ocr",
        pattern=r"^[A-Za-z0-9._-]{1,100}$",
        description="prefix of all queue and key names; deployments that share a Redis need one each",
    )
    allowed_roots: tuple[str, ...] = Field(
        (),
        description="comma-separated folders and s3://, gs:// and az:// prefixes that workers may read and "
        "write below, and https:// prefixes that they may read below",
    )
    umask: str | None = Field(
        None,
        pattern=r"^[0-7]{3,4}$",
        description="permissions, as in the shell's umask, that new local files and folders do not have: "
        "077, 007; the process's own if not set",
    )
    model_store: str | None = Field(
        None,
        description="folder or remote prefix with <architecture>.pt and .json; used before docTR's weights",
    )
    devices: str = Field("auto", description="'cpu', 'auto', or CUDA device numbers such as 0,1")
    runtime: Literal["auto", "torch", "onnx", "onnx_cuda", "onnx_tensorrt"] = Field(
        "auto",
        description="what runs the models; 'auto' is ONNX Runtime on CPUs if installed, else torch; "
        "'onnx_cuda' and 'onnx_tensorrt' are ONNX Runtime's providers for GPUs",
    )
    precision: Literal["float32", "tf32", "float16"] = Field(
        "tf32",
        description="on GPUs: 'tf32' is docTR's own there; 'float32' has a CPU's confidences, and is up to "
        "ten times slower; 'float16' rounds most",
    )
    torch_compile: bool = Field(
        False, description="compile models when they are loaded; takes minutes, for GPUs and long jobs"
    )
    preload: tuple[KindName, ...] = Field(
        (), description="comma-separated kinds of jobs whose default models a worker loads when it starts"
    )
    ready_folder: str | None = Field(
        None, description="folder where each worker process touches a file while it serves, for health checks"
    )
    chunk_size: int | None = Field(
        None,
        ge=1,
        le=MAX_CHUNK_SIZE,
        description="items in a chunk, the unit of work; 1,024 crops or 32 pages if not set",
    )
    sample: int | None = Field(
        None, ge=1, le=MAX_SAMPLE, description="read only so many items of the source, chosen at random"
    )
    seed: int = Field(0, ge=0, lt=2**32, description="of the random choice of a sample")
    exports: tuple[Export, ...] = Field(
        (),
        description="comma-separated formats besides JSONL: txt, hocr, pdf, alto, page (ocr jobs only), "
        "write_back (jobs with --regions)",
    )
    results: tuple[Export, ...] = Field(
        ("jsonl",),
        description="comma-separated formats of results and errors: jsonl, which is always written, parquet, "
        "csv (jobs of crops only)",
    )
    tags: Tags = Field((), description="comma-separated words that jobs are filtered by")
    metadata: Metadata = Field(
        {}, description="comma-separated KEY=VALUE, or a JSON object: what is stored and shown with the job"
    )
    notify: tuple[Annotated[str, Field(min_length=1, max_length=MAX_URL)], ...] = Field(
        (),
        max_length=MAX_RECEIVERS,
        description="comma-separated URLs that are told when a job ends, is late or is of low quality: "
        "http(s):// (Standard Webhooks), sqs://, sns://, and those of apprise",
    )
    notify_secret: SecretStr | None = Field(
        None, description="whsec_ and 24 to 64 bytes in base64, which webhooks are signed by; several: commas"
    )
    notify_hosts: tuple[str, ...] = Field(
        (), description="comma-separated hosts that webhooks may go to, such as *.example.org; all if none"
    )
    notify_networks: tuple[str, ...] = Field(
        (), description="comma-separated private networks that webhooks may reach, such as 10.1.0.0/16"
    )
    api_url: str | None = Field(
        None, description="URL by which people reach the HTTP API; notifications link to it"
    )
    min_confidence: str | None = Field(
        None,
        description="write readings below it to review.jsonl too: 0 to 1, or a comparison's workspace, whose "
        "threshold for the model is taken",
    )
    expect: str | None = Field(
        None,
        max_length=MAX_EXPRESSION,
        description="regular expression (RE2) that whole readings match; others go to review.jsonl too",
    )
    validators: tuple[ValidatorName, ...] = Field(
        (),
        description="comma-separated kinds of values, of which each reading must be one: iban, gtin, vin, "
        "iso6346, date; others go to review.jsonl too",
    )
    fail_if: tuple[RuleText, ...] = Field(
        (),
        description="comma-separated rules that make the quality low and the exit status 4: errors>5%, "
        "review>10%, empty>100, confidence<0.8, drift",
    )
    s3_endpoint_url: str | None = Field(
        None, description="S3 endpoint, for S3-compatible storage such as MinIO"
    )
    s3_region: str | None = Field(None, description="S3 region")
    s3_path_style: bool = Field(
        False, description="address buckets by path; most S3-compatible storage needs it"
    )
    gcs_endpoint_url: str | None = Field(None, description="endpoint of gs://, for emulators and proxies")
    azure_endpoint_url: str | None = Field(
        None, description="endpoint of az:// with its account, for emulators, proxies and national clouds"
    )
    https_networks: tuple[str, ...] = Field(
        (), description="comma-separated private networks that https:// items may be read from"
    )
    decode_threads: int = Field(
        max(1, min(8, available_cores() // 2)),
        ge=1,
        le=256,
        description="threads that decode images ahead of the device; threads that wait for an image help",
    )
    feeders: int = Field(
        max(1, min(8, available_cores() // 2)),
        ge=0,
        le=64,
        description="processes per device that fetch, decode and prepare crops; 0 does that in threads",
    )
    fetch_threads: int = Field(
        32, ge=1, le=1024, description="objects that one process fetches from S3 at once"
    )
    list_threads: int = Field(
        32,
        ge=1,
        le=256,
        description="pages of one listing that a process asks S3 or Google Cloud Storage for at once",
    )
    max_bytes: int = Field(64 * 2**20, ge=1, description="maximum bytes of one image file")
    max_document_bytes: int = Field(
        2 << 30, ge=1, description="maximum bytes of one document, a PDF or multi-page TIFF"
    )
    max_pixels: int = Field(100_000_000, ge=1, description="maximum pixels of one image")
    decode_seconds: float = Field(
        60.0,
        gt=0,
        allow_inf_nan=False,
        description="time limit in seconds for decoding one image in a child process",
    )
    decode_memory: int = Field(
        2 * 2**30, ge=2**26, description="memory limit in bytes for decoding one image in a child process"
    )
    stall_seconds: float = Field(
        600.0,
        gt=0,
        allow_inf_nan=False,
        description="seconds without progress after which a worker process is killed and restarted",
    )
    lease_seconds: int = Field(20, ge=1, description="seconds between renewals of a running chunk's lease")
    visibility_timeout: int = Field(
        120, ge=4, description="seconds without lease renewal after which another worker gets a chunk"
    )
    reconcile_seconds: float = Field(
        10.0, gt=0, allow_inf_nan=False, description="seconds between comparisons of plan, parts and queue"
    )
    tenants: tuple[str, ...] = Field(
        (),
        description="comma-separated tenants as name:weight:chunks:items: their share of the workers, and "
        "how many chunks may run and items may wait at once; the limits may be left out",
    )
    tenant: str = Field(DEFAULT_TENANT, pattern=TENANT, description="tenant of a new job")
    priority: int = Field(
        0,
        ge=-MAX_PRIORITY,
        le=MAX_PRIORITY,
        description="of a new job among the jobs of its tenant; a higher one goes first",
    )
    deadline: str | None = Field(
        None,
        min_length=1,
        max_length=64,
        description="when a new job should end: 06:00 for the next such time, or 2026-11-26T06:00+01:00",
    )
    at_deadline: AtDeadline = Field(
        "continue",
        description="what happens then: the job continues, or ends with what was read (partial)",
    )
    timezone: str | None = Field(
        None,
        description="zone of a deadline such as 06:00, and of a night's date, as Europe/Berlin; the "
        "machine's own if not set",
    )
    chunk_share: float = Field(
        0.25,
        ge=0,
        le=0.5,
        description="share of a worker's time that is kept for chunks while uploads keep coming",
    )
    shutdown_grace_seconds: float = Field(
        60.0,
        ge=0,
        allow_inf_nan=False,
        description="seconds that a stopping worker has to finish its chunks before it hands them back",
    )
    api_address: str = Field("127.0.0.1", description="address that the HTTP API listens on")
    api_port: int = Field(8080, ge=0, le=65_535, description="port that the HTTP API listens on")
    api_auth: Literal["on", "off"] = Field(
        "on", description="'off' lets every client that reaches the HTTP API do everything"
    )
    api_keys: tuple[str, ...] = Field(
        (),
        description="comma-separated API keys as name:scopes:sha256 or name:scopes:sha256:roots; made by "
        "`trace-ocr api-key`",
    )
    api_keys_file: str | None = Field(None, description="file with one API key per line, in the same form")
    api_cors_origins: tuple[str, ...] = Field(
        (), description="comma-separated origins whose web pages may call the HTTP API"
    )
    api_allowed_hosts: tuple[str, ...] = Field(
        (),
        description="comma-separated names that requests may call the HTTP API by, such as *.example.org, "
        "besides local names and addresses; if none, all names, or none where api_auth is off",
    )
    api_max_connections: int = Field(
        1000,
        ge=1,
        description="maximum open connections of one API process; fewer if it may open fewer files",
    )
    api_receive_seconds: float = Field(
        20.0,
        gt=0,
        allow_inf_nan=False,
        description="seconds for a request to arrive, and one more for each KiB of its body",
    )
    api_send_seconds: float = Field(
        300.0, gt=0, allow_inf_nan=False, description="seconds that a client may take nothing of its answer"
    )
    api_max_bytes: int = Field(
        64 * 2**20, ge=1, description="maximum bytes of a request with files; others may have 64 KiB"
    )
    api_max_files: int = Field(256, ge=1, description="maximum files uploaded in one request")
    api_max_pages: int = Field(64, ge=1, description="maximum pages of all PDFs uploaded in one request")
    api_max_regions: int = Field(4096, ge=1, description="maximum given regions of all images in one request")
    api_max_pixels: int = Field(
        1_000_000_000,
        ge=1,
        description="maximum pixels of all images in one request, and of one PDF",
    )
    api_queue_limit: int = Field(
        2048, ge=1, description="maximum uploads that wait for workers; more are answered 429"
    )
    api_queue_bytes: int = Field(
        256 * 2**20,
        ge=1,
        description="maximum bytes of waiting uploads per API process; more are answered 429",
    )
    api_key_share: float = Field(
        0.25,
        gt=0,
        le=1,
        description="share of api_queue_limit and api_queue_bytes that one API key may take, per API process",
    )
    api_request_seconds: float = Field(
        60.0, gt=0, allow_inf_nan=False, description="seconds that an uploaded file may wait for its result"
    )
    expected_workers: int = Field(
        0,
        ge=0,
        description="workers, one per device, that should be alive; 0 if their number varies",
    )
    flower_url: str | None = Field(
        None, pattern=r"^https?://", description="URL by which people reach Flower; the web UI links to it"
    )
    flower_address: str = Field("127.0.0.1", description="address that Flower listens on")
    flower_port: int = Field(5555, ge=0, le=65_535, description="port that Flower listens on")
    flower_basic_auth: SecretStr | None = Field(
        None, description="comma-separated user:password pairs that Flower accepts"
    )
    flower_database: str = Field("flower.db", description="file that Flower keeps its state in")
    retention_days: float = Field(
        7.0, gt=0, allow_inf_nan=False, description="days that Redis keeps an ended job"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="lowest level to log")
    log_format: Literal["auto", "json", "console"] = Field(
        "auto", description="'auto' is JSON, or console on a terminal"
    )

    @field_validator(
        "allowed_roots",
        "preload",
        "tenants",
        "api_keys",
        "api_cors_origins",
        "api_allowed_hosts",
        "exports",
        "results",
        "tags",
        "validators",
        "fail_if",
        "notify",
        "notify_hosts",
        "notify_networks",
        "https_networks",
        mode="before",
    )
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str) and value.startswith("["):  # a JSON list, for values that contain commas
            return json_value(value)
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("metadata", mode="before")
    @classmethod
    def _pairs(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        if value.startswith("{"):
            return json_value(value)
        pairs = [part.partition("=") for part in value.split(",") if part.strip()]
        if not all(separator for _, separator, _ in pairs):
            raise ValueError("each pair is KEY=VALUE; a value with a comma needs a JSON object")
        return {key.strip(): text.strip() for key, _, text in pairs}

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, value: str | None) -> str | None:
        try:
            if value is not None:
                ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ValueError("it must be the name of a time zone, such as Europe/Berlin") from error
        return value

    @field_validator("tenants")
    @classmethod
    def _known_form(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        parse_tenants(value)
        return value

    @model_validator(mode="after")
    def _lease_within_timeout(self) -> "Settings":
        if self.lease_seconds >= self.visibility_timeout:
            raise ValueError(
                "lease_seconds must be less than visibility_timeout, or running chunks are sent twice"
            )
        return self

    @field_validator("notify_networks", "https_networks")
    @classmethod
    def _networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for network in value:
            ipaddress.ip_network(network)
        return value

    @field_validator("model_store")
    @classmethod
    def _absolute(cls, value: str | None) -> str | None:
        try:
            return value if value is None else absolute(value)
        except UnsupportedUriError as error:
            raise ValueError(str(error)) from error

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
    except (ValueError, OSError, RecursionError) as error:
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
