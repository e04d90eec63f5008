"""The `characters` parameter: what may be read, as a vocabulary's name or a class such as `0-9A-Z-`."""

import re
from typing import Annotated

from pydantic import AfterValidator, Field

_NAMES = """
latex digits ascii_letters punctuation currency generic_cyrillic_letters russian_cyrillic_letters
russian_signs ancient_greek arabic_diacritics arabic_digits arabic_letters arabic_punctuation
persian_letters bengali_consonants bengali_vowels bengali_digits bengali_matras bengali_virama
bengali_punctuation bengali_signs gujarati_consonants gujarati_vowels gujarati_digits gujarati_matras
gujarati_virama gujarati_punctuation gujarati_signs devanagari_consonants devanagari_vowels
devanagari_digits devanagari_matras devanagari_virama devanagari_punctuation devanagari_signs
punjabi_consonants punjabi_vowels punjabi_digits punjabi_matras punjabi_virama punjabi_punctuation
punjabi_signs tamil_consonants tamil_vowels tamil_digits tamil_matras tamil_virama tamil_punctuation
tamil_signs tamil_fractions telugu_consonants telugu_digits telugu_vowels telugu_matras telugu_virama
telugu_punctuation telugu_signs kannada_consonants kannada_vowels kannada_digits kannada_matras
kannada_virama kannada_punctuation kannada_signs sinhala_consonants sinhala_vowels sinhala_digits
sinhala_matras sinhala_virama sinhala_punctuation sinhala_signs malayalam_consonants malayalam_vowels
malayalam_digits malayalam_matras malayalam_virama malayalam_signs odia_consonants odia_vowels odia_digits
odia_matras odia_virama odia_punctuation odia_signs khmer_consonants khmer_vowels khmer_digits khmer_matras
khmer_diacritics khmer_virama khmer_punctuation burmese_consonants burmese_vowels burmese_digits
burmese_diacritics burmese_virama burmese_punctuation javanese_consonants javanese_vowels javanese_digits
javanese_diacritics javanese_virama javanese_punctuation sudanese_consonants sudanese_vowels sudanese_digits
sudanese_diacritics hebrew_cantillations hebrew_consonants hebrew_specials hebrew_punctuation hebrew_vowels
latin english albanian afrikaans azerbaijani basque bosnian catalan croatian czech danish dutch estonian
esperanto french finnish frisian galician german hausa hungarian icelandic indonesian irish italian latvian
lithuanian luxembourgish malagasy malay maltese maori montenegrin norwegian polish portuguese quechua
romanian scottish_gaelic serbian_latin slovak slovene somali spanish swahili swedish tagalog turkish
uzbek_latin vietnamese welsh yoruba zulu russian belarusian ukrainian tatar tajik kazakh kyrgyz bulgarian
macedonian mongolian yakut serbian_cyrillic uzbek_cyrillic greek greek_extended hebrew arabic persian urdu
pashto kurdish uyghur sindhi devanagari hindi sanskrit marathi nepali gujarati bengali tamil telugu kannada
sinhala malayalam punjabi odia khmer armenian sudanese thai lao burmese javanese georgian ethiopic japanese
korean simplified_chinese multilingual
"""

VOCABULARIES = frozenset(_NAMES.split())
"""Names of docTR's vocabularies; a test compares them with docTR's. Workers know their characters."""

MAX_SPECIFICATION = 2000
"""Maximum characters of the parameter itself: it is in every message about the job."""

MAX_CHARACTERS = 20_000
"""Maximum characters that it may allow; docTR's largest vocabulary has 11,237."""

MIN_WORD = 4
"""Letters from which on a lower-case word is taken for a misspelt name of a vocabulary."""

_PART = re.compile(r"(\\.|[^\\])(?:-(\\.|[^\\]))?", re.DOTALL)
"""A character, or a range of two; a backslash makes the next character stand for itself."""


def characters_in(specification: str) -> frozenset[str] | None:
    r"""Return the characters of a class; None for a vocabulary's name.

    A class lists characters and ranges, with or without brackets: `0-9A-Z-`, `[abcd]`, `A-Z\\-`.

    Raises:
        ValueError: it is neither a name nor a class
    """
    if specification in VOCABULARIES:
        return None
    bracketed = len(specification) > 2 and specification[0] == "[" and specification[-1] == "]"
    if not bracketed and re.fullmatch(rf"[a-z_]{{{MIN_WORD},}}", specification):
        raise ValueError(
            f"{specification} is no vocabulary of docTR's, such as digits, ascii_letters or french: "
            f"write [{specification}] to allow its letters"
        )
    allowed: set[str] = set()
    text = specification[1:-1] if bracketed else specification
    for found in _PART.finditer(text):
        first, last = (part and part[-1] for part in found.groups())
        if last and last < first:
            raise ValueError(f"the range {first}-{last} is empty: write {last}-{first}")
        if ord(last or first) - ord(first) + len(allowed) >= MAX_CHARACTERS:
            raise ValueError(f"more than {MAX_CHARACTERS:,} characters: leave characters out to allow all")
        allowed.update(map(chr, range(ord(first), ord(last or first) + 1)))
    if text.endswith("\\") and not text.endswith("\\\\"):
        raise ValueError("it ends in a backslash, which makes the next character stand for itself: add one")
    return frozenset(allowed)


def _checked(specification: str) -> str:
    characters_in(specification)
    return specification


Characters = Annotated[str, Field(min_length=1, max_length=MAX_SPECIFICATION), AfterValidator(_checked)]
