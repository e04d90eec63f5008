"""Which columns of a Parquet file are its images, ids, labels and metadata.

Only what reads such files imports this module, since pyarrow is an optional package.
"""

from dataclasses import dataclass

import pyarrow as pa

from contract.columns import column_type, described, is_bytes, is_text, scalar_columns, unpacked
from contract.errors import SourceError
from contract.shards.base import ShardOptions

BYTES, PATH = "bytes", "path"
"""Fields of an image as Hugging Face's datasets store it: its file, and the name that the file had."""

IMAGE = "image"
"""The column of images, if several could be."""


@dataclass(frozen=True)
class ImageColumns:
    """Which columns of a file are what, as pyarrow names them: `column`, or `column.field`.

    Args:
        content: the files of images
        path: the names that these files had, if there are any
        id, label: ids and labels, if any are read
        others: further columns, which become metadata
    """

    content: str
    path: str | None
    id: str | None
    label: str | None
    others: tuple[str, ...]

    @property
    def described(self) -> list[str]:
        """All columns but that of the images, once each."""
        return list(dict.fromkeys(filter(None, (self.path, self.id, self.label, *self.others))))


def image_columns(uri: str, schema: pa.Schema, options: ShardOptions) -> ImageColumns:
    """Return which columns of a file are what.

    Raises:
        SourceError: a column is missing or of another type, or several could be that of the images
    """
    image = options.image_column or _found(uri, schema)
    kind = _type(uri, schema, image, "images")
    nested = _is_image_struct(kind)
    if not (nested or is_bytes(kind)):
        raise SourceError(
            f"{uri}: the column {image} holds {kind}; images are bytes, or structs with "
            f"a field `{BYTES}` of bytes"
        )
    path = f"{image}.{PATH}"
    named = nested and column_type(schema, path) is not None and is_text(column_type(schema, path))
    for name, what in ((options.id_column, "ids"), (options.label_column, "labels")):
        if name is not None:
            _check_text(uri, schema, name, what)
    taken = {image, options.id_column, options.label_column}
    return ImageColumns(
        content=f"{image}.{BYTES}" if nested else image,
        path=path if named else None,
        id=options.id_column,
        label=options.label_column,
        others=tuple(name for name in scalar_columns(schema) if name not in taken),
    )


def image_candidates(schema: pa.Schema) -> list[str]:
    """Return the columns that may be that of the images: those of structs with bytes, else of bytes."""
    structs = [field.name for field in schema if _is_image_struct(field.type)]
    return structs or [field.name for field in schema if is_bytes(field.type)]


def _found(uri: str, schema: pa.Schema) -> str:
    candidates = image_candidates(schema)
    if len(candidates) == 1:
        return candidates[0]
    if IMAGE in candidates:
        return IMAGE
    what = f"several columns that may hold images ({', '.join(candidates)})" if candidates else "no images"
    raise SourceError(f"{uri} has {what}: name a column with --image-column. It has {described(schema)}")


def _check_text(uri: str, schema: pa.Schema, name: str, what: str) -> None:
    kind = unpacked(_type(uri, schema, name, what))
    if not (is_text(kind) or pa.types.is_integer(kind)):
        raise SourceError(f"{uri}: the column {name} holds {kind}; {what} are text or whole numbers")


def _type(uri: str, schema: pa.Schema, name: str, what: str) -> pa.DataType:
    kind = column_type(schema, name)
    if kind is None:
        raise SourceError(f"{uri} has no column {name} of {what}: it has {described(schema)}")
    return kind


def _is_image_struct(kind: pa.DataType) -> bool:
    return pa.types.is_struct(kind) and kind.get_field_index(BYTES) >= 0 and is_bytes(kind.field(BYTES).type)
