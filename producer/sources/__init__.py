"""Sources of items: one module per source type.

Imports no more than the registry: the children that count pages start faster.
"""

from typing import TYPE_CHECKING

from contract.registry import Registry

if TYPE_CHECKING:
    from producer.sources.base import SourceType

SOURCES: "Registry[SourceType]" = Registry(
    "producer.sources", "SOURCE", ("manifest", "inventory", "shards", "file", "prefix", "folder")
)
"""Source types, in the order in which they are tried on a SOURCE argument."""
