"""HTML files from templates, with everything escaped, and pictures inside them."""

import base64
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image

from producer.results.picturing import jpeg


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
    return data_url(jpeg(image), "image/jpeg")


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
