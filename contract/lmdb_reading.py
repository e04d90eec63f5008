"""The program of a child that reads an LMDB: `python -P -m contract.lmdb_reading MAX_MEMORY`.

It imports little, since a process is started for each group of images.
"""

import sys
from collections.abc import Iterator
from typing import Annotated, Any

import msgspec

from contract.child_processes import serve
from contract.frames import Data

MAX_NUMBER = 999_999_999
"""Maximum number of an image: keys have nine digits."""

ROWS, ROWS_BYTES = 1_024, 1 << 20
"""Maximum rows of one answer, and the bytes of labels after which it ends."""

UTF8_BYTES = 4
"""Maximum bytes of a character in UTF-8."""

Number = Annotated[int, msgspec.Meta(ge=1, le=MAX_NUMBER)]
Length = Annotated[int, msgspec.Meta(ge=0)]


class Request(msgspec.Struct):
    """What to read of a file: the images of `numbers`, or without any, rows from number `first`.

    Args:
        max_label: maximum characters of a label
    """

    path: str
    first: int = 1
    max_label: int = 0
    numbers: tuple[Number, ...] = ()


class Reply(msgspec.Struct):
    """The answer.

    Args:
        lengths: of the images, whose bytes follow; None for one that is missing
        samples: what the file says is its number of images
        following: the number from which further rows begin; None after the last one
        fault: what is wrong with the file, if anything is
    """

    lengths: tuple[Length | None, ...] = ()
    samples: Length = 0
    following: Number | None = None
    fault: str = ""


class Row(msgspec.Struct, array_like=True):
    """An image: its number, its length in bytes, and its label."""

    number: Number
    length: Length
    label: str | None


class FaultError(Exception):
    """The file is no LMDB of images; the message says why."""


class Reading:
    """Answers requests; the file of the last one stays open."""

    def __init__(self) -> None:
        self._path = ""
        self._file: Any = None

    def __call__(self, request: Request, _: Data) -> tuple[Reply, bytes]:
        """Return the reply, and the images, or the rows as JSON."""
        import lmdb

        try:
            if request.path != self._path:
                self._file = lmdb.open(
                    request.path, subdir=False, readonly=True, lock=False, readahead=False, max_readers=1
                )
                self._path = request.path
            # Buffers: the length of an image is read, and not its pages.
            with self._file.begin(buffers=True) as transaction:
                if request.numbers:
                    return _images(transaction, request.numbers)
                return _rows(transaction, request.first, request.max_label)
        except lmdb.Error as error:
            return Reply(fault=f"is no LMDB file, or a damaged one ({error})"), b""
        except FaultError as error:
            return Reply(fault=str(error)), b""


def _images(transaction: Any, numbers: tuple[int, ...]) -> tuple[Reply, bytes]:
    found = [transaction.get(image_key(number)) for number in numbers]
    lengths = tuple(None if image is None else len(image) for image in found)
    return Reply(lengths), b"".join(image for image in found if image is not None)


def _rows(transaction: Any, first: int, max_label: int) -> tuple[Reply, bytes]:
    samples = _samples(transaction)
    rows: list[Row] = []
    size = 0
    for number, length in _numbered(transaction, first):
        if number > samples:
            break
        if len(rows) == ROWS or size > ROWS_BYTES:
            return Reply(samples=samples, following=number), msgspec.json.encode(rows)
        label = _label(transaction, number, max_label)
        rows.append(Row(number, length, label))
        size += len(label or "")
    return Reply(samples=samples), msgspec.json.encode(rows)


def _numbered(transaction: Any, first: int) -> Iterator[tuple[int, int]]:
    """Yield the number and the length of each image from a number on; keys are sorted, and so are numbers."""
    cursor = transaction.cursor()
    if not cursor.set_range(image_key(first)):
        return
    for key, image in cursor:
        name = bytes(key)
        digits = name.removeprefix(b"image-")
        if digits == name:
            return
        if len(name) == len(image_key(1)) and digits.isdigit() and int(digits):
            yield int(digits), len(image)


def _samples(transaction: Any) -> int:
    found = transaction.get(b"num-samples")
    text = b"" if found is None else bytes(found[:20]).strip()
    if not text.isdigit():
        raise FaultError(
            "has no key num-samples with a number: an LMDB of images has it, and keys image-000000001, "
            "label-000000001, and so on"
        )
    return min(int(text), MAX_NUMBER)


def _label(transaction: Any, number: int, longest: int) -> str | None:
    found = transaction.get(b"label-%09d" % number)
    if found is None:
        return None
    # Bytes that are not UTF-8 are replaced: the label then differs from every reading, which its line shows.
    text = bytes(found[: (longest + 1) * UTF8_BYTES]).decode("utf-8", "replace")
    if len(text) > longest:
        raise FaultError(f"has a label of more than {longest:,} characters: label-{number:09d}")
    return text


def image_key(number: int) -> bytes:
    """Return the key of an image."""
    return b"image-%09d" % number


def main() -> None:
    """Serve until the parent closes the connection."""
    serve(Request, Reading(), int(sys.argv[1]))


if __name__ == "__main__":
    main()
