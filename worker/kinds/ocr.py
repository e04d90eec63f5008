"""`ocr` on the device: pages to their words, grouped into lines and blocks."""

from doctr.models.builder import DocumentBuilder

from contract.kinds.ocr import OcrParameters
from worker.kinds.kie import word_pipeline
from worker.kinds.page_lines import ocr_line
from worker.kinds.page_steps import columns_of_one_class
from worker.kinds.pages import WordPipeline
from worker.models.pool import Models


def _make(parameters: OcrParameters, models: Models) -> WordPipeline:
    builder = DocumentBuilder(
        resolve_lines=parameters.group_lines,
        resolve_blocks=parameters.group_blocks,
        paragraph_break=parameters.paragraph_break,
    )
    return word_pipeline(parameters, models, builder, columns_of_one_class, ocr_line)


PIPELINE = _make
