"""Parameters of the kinds that read crops: files, or given regions of pages."""

from pydantic import Field

from contract.kinds.documents import DocumentParameters, OrientationParameters

MAX_PADDING = 1.0
"""Maximum padding: with as much, the lines above and below are in the crop too."""


class CropParameters(DocumentParameters, OrientationParameters):
    """How crops are cut and turned; `padding` is not in the Trace OCR API."""

    padding: float = Field(
        0.0,
        ge=0,
        le=MAX_PADDING,
        allow_inf_nan=False,
        description="what is added on each side of a given region, as a share of its height",
    )
