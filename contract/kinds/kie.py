"""`kie`: a page in, its words out, grouped by the classes of the detection model."""

from collections.abc import Iterator

from pydantic import Field

from contract.kinds import detection, recognition
from contract.kinds.base import Kind, excerpt_of_words
from contract.kinds.documents import OrientationParameters
from contract.lines import KieLine, WordBox, word_box

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
    view_note=view_note,
)
