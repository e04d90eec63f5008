"""Google Cloud Storage; needs the extra `clouds`."""

import re
from typing import TYPE_CHECKING, Any

from contract.storage.base import BucketBackend, OnRequest, Store
from contract.storage.clouds import obstore_store

if TYPE_CHECKING:
    from contract.settings import Settings

BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]")
"""Names of buckets, which become part of a URL; GCS checks the rest of its rules."""


class GcsBackend(BucketBackend):
    """Google Cloud Storage; a `contract.storage.Backend`."""

    def store(self, settings: "Settings", on_request: OnRequest | None) -> Store:
        """Return the store of all buckets; credentials come from the environment."""
        endpoint: dict[str, Any] = (
            {"base_url": settings.gcs_endpoint_url} if settings.gcs_endpoint_url else {}
        )

        def connect(bucket: str, options: Any, retries: Any) -> Any:
            from obstore.store import GCSStore

            return GCSStore(bucket, client_options=options, retry_config=retries, **endpoint)

        return obstore_store("gs", connect, BUCKET.fullmatch, on_request, settings.list_threads)


BACKEND = GcsBackend()
