"""The store of gs:// and az://, if the extra `clouds` is installed."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from contract.errors import ExtraMissingError
from contract.storage.base import OnRequest, Store

if TYPE_CHECKING:
    from contract.storage.obstore_clients import Connect


def obstore_store(
    scheme: str,
    connect: "Connect",
    is_bucket: Callable[[str], object],
    on_request: OnRequest | None,
    listers: int,
) -> Store:
    """Return the store of a scheme; its arguments are those of `BucketClients` and `ObstoreStore`.

    Raises:
        ExtraMissingError: obstore is not installed
    """
    try:
        from contract.storage.obstore_clients import BucketClients
        from contract.storage.obstore_store import ObstoreStore
    except ModuleNotFoundError as error:
        raise ExtraMissingError(
            f"{scheme}:// needs the extra `clouds`: pip install 'trace-ocr-batch[clouds]'"
        ) from error
    return ObstoreStore(BucketClients(scheme, connect, is_bucket), on_request, listers)
