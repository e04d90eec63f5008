"""The strings to draw: dictionary words, running text, figures of office documents, random letters."""

import random
import string

from tools.training.sources import VOCAB, Words

LONGEST_TEXT = 20  # characters: with punctuation and joined words; docTR's CRNN emits at most 32 steps
# The most frequent English words: on a page they are a third of the running text.
COMMON = """
    the of and to in a is that for it as was with be by on not he his but at are this have from or had an
    they which one you were her all she there would their we him been has when who will more no if out so
    said what up its about into than them can only other new some could time these two may then do first
    any my now such like our over man me even most made after also did many before must through years where
    much your way well down should because each just those people how too little state good very make world
    still own see men work
"""
# Headings of forms, invoices and letters.
OFFICE = """
    invoice total amount date number customer address delivery quantity price tax payment due balance account
    order section chapter figure table page January February March April May June July August September
    October November December Monday Tuesday Wednesday Thursday Friday company street city country phone fax
    email subject name signature department report annual net item description unit reference from to dear
    sincerely regards attached copy approved received office director manager
"""
PUNCTUATION = tuple(mark for mark in "!\"#$%&'()*+,-./:;<=>?@[\\]_{|}~°£€¥" if mark in VOCAB)
ALPHANUMERIC = string.ascii_letters + string.digits


class Writer:
    """Draws strings from word lists; every string is made of `VOCAB` and is never empty."""

    def __init__(self, words: Words) -> None:
        self.words = words
        self.common, self.office = COMMON.split(), OFFICE.split()

    def word(self, rng: random.Random) -> str:
        """One string for a single crop, from plain words to random marks."""
        kind = rng.random()
        if kind < 0.50:
            text = rng.choice(self.words.english)
        elif kind < 0.62:
            text = rng.choice(self.common)
        elif kind < 0.67:
            text = rng.choice(self.words.french)
        elif kind < 0.85:
            text = figure(rng)
        elif kind < 0.95:
            text = "".join(rng.choices(ALPHANUMERIC, k=rng.randint(1, 10)))
        else:
            text = "".join(rng.choices(VOCAB, k=rng.randint(1, 8)))
        return self._punctuated(rng, recased(rng, text))

    def running(self, rng: random.Random) -> str:
        """One string for a page's line: mostly words that are common in documents."""
        kind = rng.random()
        if kind < 0.30:
            return rng.choice(self.common)
        if kind < 0.50:
            recase = rng.choice([str.lower, str.capitalize, str.upper])
            return recase(rng.choice(self.office)) + rng.choice(["", "", ":"])
        if kind < 0.65:
            return figure(rng)
        return self.word(rng)

    def _punctuated(self, rng: random.Random, text: str) -> str:
        """`text` with the marks that words carry in documents, in about a quarter of the cases."""
        kind = rng.random()
        if kind < 0.12:
            text += rng.choice(",.:;!?")
        elif kind < 0.16:
            text = rng.choice("(\"'[") + text + rng.choice(")\"']")
        elif kind < 0.19:
            text += rng.choice(PUNCTUATION)
        elif kind < 0.21:
            text = rng.choice(PUNCTUATION) + text
        elif kind < 0.24:
            text += rng.choice("-/@_.&") + rng.choice(self.words.english)
        return text[:LONGEST_TEXT]


def recased(rng: random.Random, text: str) -> str:
    """`text` capitalised in a quarter of the cases, in capitals in a fifth; of the vocabulary only."""
    kind = rng.random()
    if kind < 0.25:
        text = text.capitalize()
    elif kind < 0.45:
        text = text.upper()
    return "".join(letter for letter in text if letter in VOCAB) or "a"


def figure(rng: random.Random) -> str:
    """A number as documents write it: plain, grouped, money, date, time, percentage, telephone."""
    kind = rng.random()
    number = rng.randint(0, 10 ** rng.randint(1, 7))
    if kind < 0.20:
        return str(number)
    if kind < 0.35:
        return f"{number:,}"
    if kind < 0.50:
        return f"{rng.choice(['$', '€', '£', ''])}{number / 100:.2f}"
    if kind < 0.60:
        return date(rng)
    if kind < 0.67:
        return f"{rng.randint(0, 23)}:{rng.randint(0, 59):02d}"
    if kind < 0.75:
        return f"{rng.randint(0, 100)}%"
    return telephone(rng)


def date(rng: random.Random) -> str:
    """Day, month and year, with the usual separators."""
    year = rng.choice([rng.randint(1950, 2030), rng.randint(0, 99)])
    return f"{rng.randint(1, 31):02d}{rng.choice('/-.')}{rng.randint(1, 12):02d}{rng.choice('/-.')}{year}"


def telephone(rng: random.Random) -> str:
    """An area code, a number, or both."""
    kind = rng.random()
    if kind < 0.40:
        rest = f"{rng.randint(100, 999)}-{rng.randint(1000, 9999)}"
        return f"({rng.randint(100, 999)})" + (rest if rng.random() < 0.6 else "")
    return f"{rng.randint(100, 999)}-{rng.randint(100, 9999)}"
