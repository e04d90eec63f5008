"""The published schemas of XML formats; see README.md."""

from pathlib import Path
from typing import Any

from lxml import etree

_FOLDER = Path(__file__).parent


class _Local(etree.Resolver):
    """Finds what a schema imports in this folder: tests have no network."""

    def resolve(self, url: str | None, public_id: str | None, context: Any) -> Any:
        return self.resolve_filename(str(_FOLDER / (url or "").rpartition("/")[2]), context)


def schema(name: str) -> etree.XMLSchema:
    """Return the schema in a file of this folder."""
    parser = etree.XMLParser(no_network=True)
    parser.resolvers.add(_Local())
    return etree.XMLSchema(etree.parse(_FOLDER / name, parser))
