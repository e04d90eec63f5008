"""Cells of CSV files that are safe to open in a spreadsheet."""

import re

FORMULAS = ("=", "+", "-", "@", "\t", "\r")
"""First characters that spreadsheets take for a formula."""

_NUMBER = re.compile(r"[-+][0-9 .,:/%-]*\Z")


def cell(text: str) -> str:
    """Return a text as a cell: with an apostrophe before what would be a formula, but not before a number."""
    return f"'{text}" if text.startswith(FORMULAS) and not _NUMBER.match(text) else text
