"""Numbers of things in words; and that no message to users has one before a plural that it may not fit."""

import re
from pathlib import Path

import pytest

from contract.counting import counted

REPOSITORY = Path(__file__).parents[3]

THINGS = (
    "characters|chunks|columns|cores|crops|devices|disagreements|entries|files|ids|images|items|jobs|keys|lines|objects|"
    "pages|regions|requests|rows|texts|truths|uploads|words|workers"
)

IN_PYTHON = re.compile(
    rf"(?<!of )(?<!of the )(?<!than )\{{(?!MAX)[^{{}}]*(?::,|len\([^{{}}]*\))\}} (?:[a-z]+ )?(?:{THINGS})\b"
    r"(?!/)"
)
"""A number and a plural. In "1 of 1 items" the plural is right, and a constant of the program is never 1."""

IN_JAVASCRIPT = re.compile(rf"(?<!of )\$\{{count\([^{{}}]*\)\}} (?:[a-z]+ )?(?:{THINGS})\b(?!/)")


@pytest.mark.parametrize(
    ("number", "words", "said"),
    [
        (0, ("chunk",), "0 chunks"),
        (1, ("chunk",), "1 chunk"),
        (1204, ("chunk",), "1,204 chunks"),
        (1, ("entry", "entries"), "1 entry"),
        (2, ("entry", "entries"), "2 entries"),
        (1, ("item goes", "items go"), "1 item goes"),
    ],
)
def test_a_number_agrees_with_what_it_counts(number: int, words: tuple[str, ...], said: str) -> None:
    assert counted(number, *words) == said


@pytest.mark.parametrize("package", ["contract", "producer", "trace_ocr", "worker"])
def test_no_message_has_a_number_before_a_fixed_plural(package: str) -> None:
    assert list(fixed_plurals(package, "*.py", IN_PYTHON)) == []


def test_no_text_of_the_web_ui_has_a_number_before_a_fixed_plural() -> None:
    assert list(fixed_plurals("producer/api/page", "*.js", IN_JAVASCRIPT)) == []


def fixed_plurals(folder: str, pattern: str, plural: re.Pattern[str]) -> list[str]:
    return [
        f"{path.relative_to(REPOSITORY)}:{number}: {line.strip()}"
        for path in sorted((REPOSITORY / folder).rglob(pattern))
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if plural.search(line)
    ]
