"""boto3's client of S3: its timeouts and retries, and what is told of its requests."""

import importlib.util
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config

from contract.storage.asking import ATTEMPTS, CONNECT_SECONDS, READ_SECONDS, USER_AGENT
from contract.storage.base import OnRequest

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from contract.settings import Settings
    from contract.storage.fast_s3 import FastReader

OTHER_CONNECTIONS = 32
"""Connections besides those of the fetch threads: for chunks, parts, statistics, counting and merging."""

ANSWERED = frozenset({404, 409, 412})
"""HTTP statuses that only say whether an object exists; they do not count as errors."""


def make_client(settings: "Settings") -> "S3Client":
    """Return an S3 client; credentials come from boto3's own chain, never from our settings."""
    return boto3.session.Session().client(
        "s3",
        endpoint_url=settings.s3_endpoint_url,
        region_name=settings.s3_region,
        config=Config(
            retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
            s3={"addressing_style": "path" if settings.s3_path_style else "auto"},
            connect_timeout=CONNECT_SECONDS,
            read_timeout=READ_SECONDS,
            max_pool_connections=settings.fetch_threads + settings.list_threads + OTHER_CONNECTIONS,
            # botocore builds its own for each request, in a tenth of the processor time of a small one.
            user_agent=USER_AGENT,
            # S3-compatible storage rejects the newer checksum trailers unless an operation requires them.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )


def observe(client: "S3Client", on_request: OnRequest) -> None:
    """Call `on_request` for every request of the client, after its retries, in the caller's thread."""

    def answered(model: Any, parsed: dict[str, Any], context: dict[str, Any], **_: Any) -> None:
        status = parsed.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        on_request(model.name, "ok" if status < 400 or status in ANSWERED else "error", _retries(context))

    def failed(event_name: str, context: dict[str, Any], **_: Any) -> None:
        on_request(event_name.rpartition(".")[2], "error", _retries(context))

    client.meta.events.register("after-call.s3", answered)
    client.meta.events.register("after-call-error.s3", failed)


def _retries(context: dict[str, Any]) -> int:
    return max(0, int(context.get("retries", {}).get("attempt", 1)) - 1)


def fast_reader(client: "S3Client", on_request: OnRequest | None) -> "FastReader | None":
    """Return a reader that is faster than boto3, or None unless the extra `s3-fast` is installed."""
    if importlib.util.find_spec("obstore") is None:
        return None
    from contract.storage.fast_s3 import FastReader

    return FastReader(client, on_request)
