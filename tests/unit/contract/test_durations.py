"""Durations in words."""

import pytest

from contract.durations import in_words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-1, "0 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (725, "12 min"),
        (7_199, "119 min"),
        (7_200, "2 h"),
        (172_799, "47 h"),
        (172_800, "2 days"),
    ],
)
def test_a_duration_is_said_in_one_unit(seconds: float, words: str) -> None:
    assert in_words(seconds) == words
