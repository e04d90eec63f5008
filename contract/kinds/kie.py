"""`kie`: a page in, its words out, grouped by the classes of the detection model."""

from collections.abc import Iterable, Iterator, Mapping

import msgspec
from pydantic import Field

from contract.kinds import detection, recognition
from contract.kinds.base import Given, Kind, excerpt_of_words
from contract.kinds.documents import OrientationParameters
from contract.lines import KieLine, Word, WordBox, corrected, word_box

TUNING = detection.TUNING | recognition.TUNING


class KieParameters(detection.DetectionParameters, recognition.WordParameters, OrientationParameters):
    """Parameters of `/kie`."""

    detect_language: bool = Field(False, description="report the language of each page")
    straighten_pages: bool = Field(False, description="turn pages upright before reading them")
    disable_page_orientation: bool = Field(False, description="assume upright pages; do not classify them")
    disable_text_orientation: bool = Field(False, description="assume upright words; do not classify them")


def words(line: KieLine) -> Iterator[WordBox]:
    """Yield the words of a page, class by class."""
    for extracted in line.extracted_fields:
        yield from map(word_box, extracted.values)


def given_words(found: Iterable[Word], given: Mapping[int | None, Given], first: int) -> tuple[Word, ...]:
    """Return words with the texts that people gave.

    Args:
        first: the number of the first word among all words of the page
    """
    numbered = enumerate(found, first)
    return tuple(corrected(word, *given[number]) if number in given else word for number, word in numbered)


def _corrected(line: KieLine, given: Mapping[int | None, Given]) -> KieLine:
    fields, first = [], 0
    for one in line.extracted_fields:
        fields.append(msgspec.structs.replace(one, values=given_words(one.values, given, first)))
        first += len(one.values)
    return msgspec.structs.replace(line, extracted_fields=tuple(fields))


def view_note(parameters: KieParameters) -> str:
    """Return why boxes may be next to their words; empty if they are not."""
    if not parameters.straighten_pages:
        return ""
    return (
        "The job straightened pages before reading them. The original pages are shown here, so boxes may be "
        "next to their words."
    )


KIND = Kind(
    name="kie",
    help="pages to fields",
    parameters=KieParameters,
    line=KieLine,
    unit="page",
    chunk_size=detection.PAGES_PER_CHUNK,
    batch="detection_batch_size",
    tuning=TUNING,
    excerpt=lambda line: excerpt_of_words(words(line)),
    reads="words",
    words=words,
    corrected=_corrected,
    view_note=view_note,
)
