"""The `characters` parameter, as users write it."""

import pytest
from doctr.datasets import VOCABS

from contract.characters import VOCABULARIES, characters_in


def test_the_vocabularies_are_doctrs() -> None:
    assert set(VOCABS) == VOCABULARIES


def test_a_vocabularys_name_is_left_to_the_worker() -> None:
    assert characters_in("digits") is None


@pytest.mark.parametrize(
    ("specification", "allowed"),
    [
        ("0-9", "0123456789"),
        ("0-3A-C-", "0123ABC-"),
        ("-+", "-+"),
        ("abc", "abc"),
        ("[frensh]", "frensh"),
        (r"a\-c", "a-c"),
        (r"\\", "\\"),
        ("é", "é"),
        ("[]", "[]"),
    ],
)
def test_a_class_lists_characters_and_ranges(specification: str, allowed: str) -> None:
    assert characters_in(specification) == set(allowed)


@pytest.mark.parametrize(
    ("specification", "said"),
    [
        ("frensh", r"\[frensh\]"),
        ("9-0", "0-9"),
        ("\x00-\U0010ffff", "more than 20,000"),
        ("a\\", "backslash"),
    ],
)
def test_what_is_probably_a_mistake_is_refused_with_what_to_write(specification: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        characters_in(specification)
