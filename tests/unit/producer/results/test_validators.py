"""Kinds of values: real ones pass, one wrong character does not."""

import pytest

from producer.results.validators import VALIDATORS, fits


@pytest.mark.parametrize(
    ("name", "value", "wrong"),
    [
        ("iban", "DE89 3704 0044 0532 0130 00", "DE89 3704 0044 0532 0130 01"),
        ("gtin", "4006381333931", "4006381333932"),
        ("gtin", "96385074", "96385075"),
        ("vin", "1M8GDM9AXKP042788", "1M8GDM9A1KP042788"),
        ("vin", "WVWZZZ1JZXW000001", "WVWZZZ1JZXW00000O"),
        ("iso6346", "CSQU3054383", "CSQU3054384"),
        ("date", "24.12.2026", "31.02.2026"),
        ("date", "2026-11-25", "2026-13-25"),
    ],
)
def test_a_valid_value_passes_and_a_misread_one_does_not(name: str, value: str, wrong: str) -> None:
    assert VALIDATORS[name](value)
    assert not VALIDATORS[name](wrong)


@pytest.mark.parametrize("name", VALIDATORS)
@pytest.mark.parametrize("value", ["", " ", "text", "\x00", "Ä" * 17, "1" * 10_000, "٤" * 13])
def test_no_text_is_an_error(name: str, value: str) -> None:
    assert not fits(value, (name,))


def test_a_value_may_be_of_any_of_several_kinds() -> None:
    assert fits("24.12.2026", ("iban", "date"))
