"""Azure Blob Storage, in the account that the environment names; needs the extra `clouds`."""

import re
from typing import TYPE_CHECKING, Any

from contract.storage.base import BucketBackend, OnRequest, Store
from contract.storage.clouds import obstore_store

if TYPE_CHECKING:
    from contract.settings import Settings

CONTAINER = re.compile(r"\$root|\$web|[a-z0-9](?:-?[a-z0-9]){2,62}")
"""Names of containers, which become part of a URL."""

LISTERS = 1
"""Pages of a listing asked for at once. Parts can only be joined if they are in the order of keys; an account
with a hierarchical namespace has another order, which shows in the whole alone. See docs/decisions/0025."""


class AzureBackend(BucketBackend):
    """Azure Blob Storage; a `contract.storage.Backend`."""

    def store(self, settings: "Settings", on_request: OnRequest | None) -> Store:
        """Return the store of all containers; account and credentials come from AZURE_STORAGE_ variables."""
        endpoint: dict[str, Any] = (
            {"endpoint": settings.azure_endpoint_url} if settings.azure_endpoint_url else {}
        )

        def connect(container: str, options: Any, retries: Any) -> Any:
            from obstore.store import AzureStore

            return AzureStore(container, client_options=options, retry_config=retries, **endpoint)

        return obstore_store("az", connect, CONTAINER.fullmatch, on_request, LISTERS)


BACKEND = AzureBackend()
