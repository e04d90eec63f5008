"""Some of a source's items, chosen before the job was made and kept in a file of one item per line."""

from collections.abc import Iterator

from contract.errors import SourceError, StorageError, StorageUnavailableError
from contract.lines import UNREADABLE
from contract.records import Item, decode_item
from contract.storage import Storage, absolute


def chosen_items(uri: str, storage: Storage) -> Iterator[Item]:
    """Yield the items of the file, in order.

    Raises:
        SourceError: the file is missing or damaged
    """
    location = absolute(uri)
    try:
        with storage.at(location).reader(location) as stream:
            for line in stream:
                yield decode_item(line)
    except StorageUnavailableError:
        raise
    except (StorageError, *UNREADABLE) as error:
        raise SourceError(f"the items of this job, in {uri}, cannot be read: {error}") from error
