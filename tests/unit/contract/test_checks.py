"""Rules and checks of a job, as callers write them."""

import pytest
from pydantic import ValidationError

from contract.checks import Checks, Rule, parse_rule


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("errors>5%", Rule("errors", 0.05, True)),
        ("review > 0.5%", Rule("review", 0.005, True)),
        ("empty>100", Rule("empty", 100.0, False)),
        ("confidence<0.9", Rule("confidence", 0.9, True)),
        ("drift", Rule("drift", 0.0, False)),
    ],
)
def test_a_rule_names_a_measure_and_its_limit(text: str, rule: Rule) -> None:
    assert parse_rule(text) == rule


@pytest.mark.parametrize(
    "text", ["", "errors", "errors<5%", "speed>5", "confidence<7", "errors>5%%", "errors>nan"]
)
def test_anything_else_is_no_rule(text: str) -> None:
    with pytest.raises(ValueError, match="is no rule"):
        parse_rule(text)


@pytest.mark.parametrize(
    "checks",
    [
        {"min_confidence": 1.1},
        {"min_confidence": "high"},
        {"expect": ""},
        {"expect": "a" * 1001},
        {"validators": ["isbn"]},
        {"fail_if": ["errors>1"] * 17},
        {"fail_if": ["errors"]},
    ],
)
def test_checks_are_bounded(checks: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Checks.model_validate(checks)
