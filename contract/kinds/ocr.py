"""`ocr`: a page in, its text in blocks, lines and words out."""

from collections.abc import Iterator, Mapping

import msgspec
from pydantic import Field

from contract.kinds import kie
from contract.kinds.base import Given, Kind, excerpt_of_words
from contract.kinds.detection import PAGES_PER_CHUNK
from contract.lines import Block, OcrLine, TextLine, WordBox, word_box


class OcrParameters(kie.KieParameters):
    """Parameters of `/ocr`."""

    group_lines: bool = Field(True, description="group words into lines")
    group_blocks: bool = Field(False, description="group lines into blocks")
    paragraph_break: float = Field(
        0.035,
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="minimum gap between two words that ends a line, as a fraction of the page's width",
    )


def words(line: OcrLine) -> Iterator[WordBox]:
    """Yield the words of a page in reading order."""
    for page in line.pages:
        for block in page.blocks:
            for text in block.lines:
                yield from map(word_box, text.words)


def _corrected(line: OcrLine, given: Mapping[int | None, Given]) -> OcrLine:
    replace, first = msgspec.structs.replace, 0

    def of_text(text: TextLine) -> TextLine:
        nonlocal first
        words = kie.given_words(text.words, given, first)
        first += len(words)
        return replace(text, words=words)

    def of_block(block: Block) -> Block:
        return replace(block, lines=tuple(map(of_text, block.lines)))

    (page,) = line.pages
    return replace(line, pages=(replace(page, blocks=tuple(map(of_block, page.blocks))),))


KIND = Kind(
    name="ocr",
    help="pages to text, in blocks, lines and words",
    parameters=OcrParameters,
    line=OcrLine,
    unit="page",
    chunk_size=PAGES_PER_CHUNK,
    batch="detection_batch_size",
    tuning=kie.TUNING,
    excerpt=lambda line: excerpt_of_words(words(line)),
    reads="words",
    words=words,
    corrected=_corrected,
    page_exports=("txt", "hocr", "pdf"),
    line_exports=("alto", "page"),
    view_note=kie.view_note,
)
