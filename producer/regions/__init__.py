"""Files that describe regions of pages: one module per format."""

from contract.registry import Registry
from producer.regions.base import RegionFormat

FORMATS: Registry[RegionFormat] = Registry(
    "producer.regions",
    "FORMAT",
    ("page", "alto", "hocr", "coco", "labelme", "cvat", "doctr", "funsd", "template"),
)
"""The formats that `--regions FORMAT:PATH` takes."""
