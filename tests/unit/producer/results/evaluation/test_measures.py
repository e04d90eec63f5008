"""The measures of one model: docTR's and jiwer's figures to the last digit, and what each counts."""

import unicodedata

import jiwer
import pytest
from doctr.utils.metrics import TextMatch
from hypothesis import given
from hypothesis import strategies as st

from producer.results.evaluation.measures import (
    MAX_CONFUSIONS,
    MAX_GROUPS,
    OTHER_GROUPS,
    Measures,
    Reference,
    length_group,
)
from producer.results.evaluation.text import CharacterClass, ErrorKind, kind_of_error, marked
from producer.results.evaluation.truth import normalised

PAIRS = [
    ("Invoice", "Invoice"),
    ("Total", "total"),
    ("12,50 €", "12,50 EUR"),
    ("été", "ete"),
    ("ÉTÉ", "ete"),
    ("no. 12 a", "no 12 b"),
    ("two  words", "two words"),
    (" padded ", "padded"),
    ("long gone", ""),
    ("x", "xyz xyz"),
    ("שלום", "שלוס"),
    ("e\u0301te\u0301", "\u00e9t\u00e9"),
]


def measured(pairs: list[tuple[str, str]]) -> Measures:
    measures = Measures()
    for truth, value in pairs:
        measures.add(Reference(normalised(truth)), normalised(value), 0.5)
    return measures


def in_nfc(pairs: list[tuple[str, str]]) -> tuple[list[str], list[str]]:
    truths, values = zip(*pairs, strict=True)
    return [unicodedata.normalize("NFC", one) for one in truths], [
        unicodedata.normalize("NFC", one) for one in values
    ]


def assert_equal_to_the_oracles(pairs: list[tuple[str, str]]) -> None:
    ours = measured(pairs)
    truths, values = in_nfc(pairs)
    doctrs = TextMatch()
    doctrs.update(truths, values)
    assert {level: ours.match(level) for level in doctrs.summary()} == doctrs.summary()
    if any(truth.strip() for truth in truths):
        assert ours.cer == jiwer.cer(truths, values)
        assert ours.wer == jiwer.wer(truths, values)


def test_the_figures_are_doctrs_and_jiwers() -> None:
    assert_equal_to_the_oracles(PAIRS)


TEXTS = st.text(st.sampled_from("aAbBéÉ€ eE1.,-ß"), min_size=1, max_size=12).filter(str.strip)


@given(st.lists(st.tuples(TEXTS, st.one_of(TEXTS, st.just(""))), min_size=1, max_size=8))
def test_they_are_so_for_any_texts(pairs: list[tuple[str, str]]) -> None:
    assert_equal_to_the_oracles(pairs)


def test_one_minus_ned_divides_each_distance_by_the_longer_text() -> None:
    assert measured([("abcd", "abcd"), ("abcd", "ab"), ("a", "xyz")]).one_minus_ned == (1 + 0.5 + 0) / 3


def test_nothing_has_no_figures() -> None:
    empty = Measures()

    assert (empty.cer, empty.wer, empty.one_minus_ned, empty.match("raw"), empty.exact.share) == (None,) * 5


def test_accuracy_by_class_counts_the_characters_of_the_truth() -> None:
    # when a digit is wrong, a letter is missing, and a dot is too much
    by_class = measured([("AB 12-3", "B 19-3.")]).by_class

    assert {name: (one.right, one.total) for name, one in by_class.items()} == {
        CharacterClass.LETTERS: (1, 2),
        CharacterClass.OTHER: (1, 1),
        CharacterClass.DIGITS: (2, 3),
        CharacterClass.PUNCTUATION: (1, 1),
    }


def test_confusions_are_pairs_of_characters_with_nothing_for_one_that_is_missing_or_extra() -> None:
    confusions = measured([("O0", "00"), ("O1", "01"), ("ab", "a"), ("ab", "abc")]).confusions

    assert confusions == {("O", "0"): 2, ("b", ""): 1, ("", "c"): 1}


def test_many_different_characters_and_groups_take_bounded_memory() -> None:
    measures = Measures()
    for number in range(MAX_CONFUSIONS + 100):
        measures.add(Reference("a", group=f"group {number}"), chr(0x4E00 + number), 0.5)

    assert len(measures.confusions) == MAX_CONFUSIONS
    assert len(measures.by_group) == MAX_GROUPS + 1
    assert measures.by_group[OTHER_GROUPS].total == MAX_CONFUSIONS + 100 - MAX_GROUPS


@pytest.mark.parametrize(
    ("length", "group"), [(0, "0"), (1, "1"), (5, "5-6"), (6, "5-6"), (32, "25-32"), (10_000, "33+")]
)
def test_lengths_are_grouped(length: int, group: str) -> None:
    assert length_group(length) == group


@pytest.mark.parametrize(
    ("truth", "value", "kind"),
    [
        ("abc", "", ErrorKind.NOTHING_READ),
        ("Abc", "abc", ErrorKind.CASE),
        ("Été", "ete", ErrorKind.LOOKALIKE),
        ("abc", "ab", ErrorKind.MISSING),
        ("abc", "abcd", ErrorKind.EXTRA),
        ("abc", "abd", ErrorKind.WRONG),
        ("abcd", "xbc", ErrorKind.MIXED),
    ],
)
def test_an_error_has_the_first_kind_that_applies(truth: str, value: str, kind: ErrorKind) -> None:
    assert kind_of_error(truth, value) is kind


def test_differences_are_marked_on_both_sides() -> None:
    assert marked("B 19-3.", "AB 12-3") == [("B 1", False), ("9", True), ("-3", False), (".", True)]
    assert marked("AB 12-3", "B 19-3.") == [("A", True), ("B 1", False), ("2", True), ("-3", False)]


def test_a_label_of_ten_thousand_characters_is_measured() -> None:
    long = measured([("ab" * 5_000, "ab" * 4_999)])

    assert long.cer == 2 / 10_000
