"""The metadata of an item: the further columns of its source, which the line of its result repeats."""

from collections.abc import Mapping

import msgspec

from contract.errors import SourceError

MAX_METADATA_BYTES = 16_384
"""Maximum bytes of an item's metadata as JSON: its line repeats them, and a chunk's lines are in memory."""

SHOWN_NAMES = 200
"""Maximum characters of the columns' names in a message."""


def encoded_metadata(place: str, fields: Mapping[str, object]) -> msgspec.Raw | None:
    """Return fields as a JSON object; None if there are none.

    Args:
        place: the line or row, for messages

    Raises:
        SourceError: they are too large, or cannot be written as JSON
    """
    if not fields:
        return None
    try:
        data = msgspec.json.encode(fields)
    except (ValueError, TypeError, OverflowError, msgspec.MsgspecError) as error:
        raise SourceError(f"{place}: its further columns cannot be written as JSON: {error}") from error
    if len(data) > MAX_METADATA_BYTES:
        raise SourceError(
            f"{place} has more than {MAX_METADATA_BYTES:,} bytes in its further columns "
            f"({', '.join(fields)[:SHOWN_NAMES]}), which the results repeat: leave the long ones out"
        )
    return msgspec.Raw(data)
