"""Parameters that kinds of crops and kinds of pages share."""

from pydantic import Field

from contract.kinds.base import Parameters

PDF_RESOLUTION = 144
"""Dots per inch at which PDF pages are rendered: docTR's scale of 2 pixels per point."""


class DocumentParameters(Parameters):
    """How pages are rendered; not in the Trace OCR API."""

    pdf_resolution: int = Field(
        PDF_RESOLUTION, ge=18, le=1200, description="dots per inch at which PDF pages are rendered"
    )
    pdf_forms: bool = Field(True, description="draw what is filled in a PDF's form fields, as viewers do")


class OrientationParameters(Parameters):
    """Whether the orientation of what is read is classified."""

    detect_orientation: bool = Field(
        False,
        description="report each page's rotation; or each crop's, which is turned upright before it is read",
    )
