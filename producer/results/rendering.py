"""HTML files from templates, with everything escaped, and pictures inside them."""

import base64
import io
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image

JPEG_QUALITY = 80
"""JPEG quality of embedded pictures: they are for viewing, not for OCR."""


def render(name: str, **values: Any) -> str:
    """Return a template of `templates/`, filled in; all values are escaped."""
    return _templates().get_template(name).render(**values)


def source_of(name: str) -> str:
    """Return a file of `templates/` as it is."""
    environment = _templates()
    assert environment.loader is not None
    return environment.loader.get_source(environment, name)[0]


def picture_url(image: Image.Image) -> str:
    """Return an image as a data URL."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=JPEG_QUALITY)
    return data_url(buffer.getvalue(), "image/jpeg")


def data_url(data: bytes, media_type: str) -> str:
    """Return bytes as a data URL."""
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


def _templates() -> Environment:
    return Environment(
        loader=PackageLoader("producer.results"),
        autoescape=True,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )
