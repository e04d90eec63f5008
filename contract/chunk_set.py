"""A set of chunk numbers, one bit each: ten million of them take a megabyte, not a gigabyte."""

from collections.abc import Iterable, Iterator, Set
from typing import Any


class ChunkSet(Set[int]):
    """An immutable set of chunk numbers that iterates in order.

    Args:
        bits: one bit per number, the first in the highest bit of the first byte: the layout of a Redis bitmap
    """

    __slots__ = ("_bits",)

    def __init__(self, bits: bytes | bytearray = b"") -> None:
        self._bits = bytes(bits).rstrip(b"\0")

    @classmethod
    def of(cls, numbers: Iterable[int]) -> "ChunkSet":
        """Return the set of these numbers."""
        bits = bytearray()
        for number in numbers:
            byte = number >> 3
            if byte >= len(bits):
                bits.extend(bytes(byte + 1 - len(bits)))
            bits[byte] |= 128 >> (number & 7)
        return cls(bits)

    @classmethod
    def below(cls, count: int) -> "ChunkSet":
        """Return the set of the numbers 0 to count - 1."""
        whole, rest = divmod(count, 8)
        return cls(b"\xff" * whole + (bytes([256 - (256 >> rest)]) if rest else b""))

    @classmethod
    def _from_iterable(cls, numbers: Iterable[Any]) -> "ChunkSet":  # type: ignore[override]
        """Return what the operators of `Set` return."""
        return cls.of(numbers)

    def first_missing(self) -> int:
        """Return the lowest number that is not in the set."""
        whole = len(self._bits) - len(self._bits.lstrip(b"\xff"))
        number = 8 * whole
        while number in self:
            number += 1
        return number

    def count(self, first: int, end: int) -> int:
        """Return how many of the numbers from `first` to `end` - 1 are in the set."""
        whole, last = -(-first // 8), end // 8
        if whole >= last:
            return sum(number in self for number in range(first, end))
        inner = int.from_bytes(self._bits[whole:last]).bit_count()
        edges = (*range(first, 8 * whole), *range(8 * last, end))
        return inner + sum(number in self for number in edges)

    def __contains__(self, number: object) -> bool:
        if not isinstance(number, int) or not 0 <= number < 8 * len(self._bits):
            return False
        return bool(self._bits[number >> 3] & 128 >> (number & 7))

    def __iter__(self) -> Iterator[int]:
        for index, byte in enumerate(self._bits):
            if byte:
                yield from (8 * index + bit for bit in range(8) if byte & 128 >> bit)

    def __len__(self) -> int:
        return int.from_bytes(self._bits).bit_count()

    def __bool__(self) -> bool:
        return bool(self._bits)

    def __repr__(self) -> str:
        return f"ChunkSet.of({list(self)})"

    def __and__(self, other: Iterable[int]) -> "ChunkSet":
        ours, theirs, length = self._with(other)
        return ChunkSet((ours & theirs).to_bytes(length))

    def __sub__(self, other: Iterable[int]) -> "ChunkSet":
        ours, theirs, length = self._with(other)
        return ChunkSet((ours & ~theirs).to_bytes(length))

    def _with(self, other: Iterable[int]) -> tuple[int, int, int]:
        """Return this set and another as numbers of the same length, and that length in bytes."""
        theirs = (other if isinstance(other, ChunkSet) else ChunkSet.of(other))._bits
        length = max(len(self._bits), len(theirs))
        return (
            int.from_bytes(self._bits.ljust(length, b"\0")),
            int.from_bytes(theirs.ljust(length, b"\0")),
            length,
        )
