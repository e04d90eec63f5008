"""Shards: files that hold many images, one module per format."""

from contract.registry import Registry
from contract.shards.base import Entry, Shard, ShardFormat, ShardOptions, member_error

__all__ = ["SHARDS", "Entry", "Shard", "ShardFormat", "ShardOptions", "format_of", "member_error"]

SHARDS: Registry[ShardFormat] = Registry(
    "contract.shards", "FORMAT", ("tar", "compressed_tar", "zip", "parquet", "lmdb")
)
"""Formats of shards, in the order in which their extensions are tried on a name."""


def format_of(name: str) -> str | None:
    """Return the format of a file by the extension of its name; None if it is no shard's."""
    lower = name.lower()
    return next((key for key, one in SHARDS.items() if lower.endswith(one.extensions)), None)
