"""Guesses where the keys of a listing can be split, from the keys that were seen so far."""

import string
from bisect import bisect_left, bisect_right
from collections import defaultdict

DEPTH = 24
"""Characters that a distance looks at: more do not change a float."""

SAMPLES = 16
"""Keys of a page whose characters are noted: a page repeats what its neighbours show."""

MIN_RIGHT_PAGES = 0.5
"""Estimated pages behind a split, at least."""

_CLASSES = (string.digits, string.ascii_uppercase, string.ascii_lowercase)
_BLOCK = 256
"""Characters of one Unicode block, more or less: in scripts other than Latin, neighbours are alike."""


class SplitKeys:
    """What is known of the keys of a listing: which characters are found at each of their places.

    Args:
        fixed: the length of the prefix that all keys have
    """

    def __init__(self, fixed: int) -> None:
        self._fixed = fixed
        self._seen: defaultdict[int, set[str]] = defaultdict(set)
        self._first: dict[int, str] = {}
        self._varied: defaultdict[int, bool] = defaultdict(bool)
        self._sorted: dict[int, list[str]] = {}

    def learn(self, keys: list[str]) -> None:
        """Note the characters of some of the keys of a page."""
        for key in keys[:: max(1, len(keys) // SAMPLES)]:
            for place, character in enumerate(key[self._fixed :], self._fixed):
                seen = self._seen[place]
                if self._first.setdefault(place, character) != character:
                    self._varied[place] = True
                if character not in seen:
                    seen |= set(string.digits if character in string.digits else character)
                    self._sorted.pop(place, None)

    def guess(
        self, first: str, last: str, end: str | None, pages: float, *, stubborn: bool = False
    ) -> str | None:
        """Return a key between `last` and `end`, a few pages behind `last`; None if no split pays.

        The last place that a page counts up is counted up further; when it is at its end, the one before it.

        Args:
            first, last: of the newest page that was listed
            end: the last key that may be; None if keys have no known end
            pages: estimated number before the split, at least
            stubborn: also where little seems to be left, and in places where all keys were alike: there was
                more than it seemed
        """
        varies = min(_common(first, last), len(last) - 1)
        shallow = self._fixed if end is None else max(self._fixed, _common(last, end))
        for place in range(varies, shallow - 1, -1):
            page = self._distance(first, last, place)
            found = self._middle(last, place, end, self._known(place), pages * page)
            if found and (place > shallow or self._leaves_enough(found, end, place, page)):
                return found
        if stubborn or end is None:
            for place in [*range(varies, shallow - 1, -1), *range(varies + 1, len(last))]:
                found = self._middle(last, place, end, self._likely(last, place), 0.0)
                if found:
                    return found
        return None

    def _known(self, place: int) -> list[str]:
        """Return the characters of a place that is known to differ between keys."""
        return self._at(place) if self._varied[place] else []

    def _likely(self, last: str, place: int) -> list[str]:
        """Return the characters that were seen at a place, and those of the last key's kind."""
        return sorted({*self._at(place), *_same_class(last[place])})

    def _middle(
        self, last: str, place: int, end: str | None, characters: list[str], far: float
    ) -> str | None:
        """Return the middle one of the keys that have another character in one place and are far enough."""
        behind = characters[bisect_right(characters, last[place]) :]
        keys = [last[:place] + character for character in behind]
        if end is not None:
            keys = keys[: bisect_left(keys, end)]
        if far:
            keys = keys[bisect_left(keys, far, key=lambda key: self._distance(last, key, place)) :]
        return keys[len(keys) // 2] if keys else None

    def _leaves_enough(self, found: str, end: str | None, place: int, page: float) -> bool:
        return end is None or self._distance(found, end, place) >= MIN_RIGHT_PAGES * page

    def _distance(self, one: str, other: str, start: int) -> float:
        """Return about how much lies between two keys, as a share of all that are alike before `start`."""
        return self._value(other, start) - self._value(one, start)

    def _value(self, key: str, start: int) -> float:
        value, unit = 0.0, 1.0
        for place in range(start, min(len(key), start + DEPTH)):
            if self._varied[place]:
                characters = self._at(place)
                unit /= len(characters)
                value += unit * bisect_left(characters, key[place])
        return value

    def _at(self, place: int) -> list[str]:
        if place not in self._sorted:
            self._sorted[place] = sorted(self._seen.get(place, ()))
        return self._sorted[place]


def _common(one: str, other: str) -> int:
    """Return the length of the common beginning."""
    length = min(len(one), len(other))
    return next((place for place in range(length) if one[place] != other[place]), length)


def _same_class(character: str) -> list[str]:
    """Return the characters of the same kind, in order."""
    for members in _CLASSES:
        if character in members:
            return list(members)
    if character.isascii():
        return [character]
    start = ord(character) // _BLOCK * _BLOCK
    return [chr(point) for point in range(start, start + _BLOCK)]
