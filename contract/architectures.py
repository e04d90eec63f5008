"""docTR's architectures, under the Trace OCR API's names, and the names of models."""

from typing import Annotated, Literal

from pydantic import Field

RECOGNITION_MODELS = (
    "crnn_vgg16_bn",
    "crnn_mobilenet_v3_small",
    "crnn_mobilenet_v3_large",
    "sar_resnet31",
    "master",
    "vitstr_small",
    "vitstr_base",
    "parseq",
    "viptr_tiny",
)

DETECTION_MODELS = (
    "db_resnet50",
    "db_resnet34",
    "db_mobilenet_v3_large",
    "linknet_resnet18",
    "linknet_resnet34",
    "linknet_resnet50",
    "fast_tiny",
    "fast_small",
    "fast_base",
)

ORIENTATION_MODELS = ("mobilenet_v3_small_crop_orientation", "mobilenet_v3_small_page_orientation")
"""docTR's classifiers of word rotation and of page rotation; jobs cannot choose another one."""

Task = Literal["recognition", "detection", "orientation"]

MODEL_TASKS: dict[Task, tuple[str, ...]] = {
    "recognition": RECOGNITION_MODELS,
    "detection": DETECTION_MODELS,
    "orientation": ORIENTATION_MODELS,
}
"""Architectures by task."""

NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}"
"""A model's name: an architecture, or an entry of the model store, whose files have that name. It has no
separators, so that it cannot lead outside of the store."""

ModelName = Annotated[str, Field(pattern=rf"^{NAME}$")]


def task_of(architecture: str) -> Task | None:
    """Return the task of an architecture, or None if docTR has no such architecture."""
    return next((task for task, names in MODEL_TASKS.items() if architecture in names), None)
