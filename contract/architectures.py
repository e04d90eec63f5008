"""docTR's architectures, under the Trace OCR API's names."""

from typing import Literal, get_args

RecognitionModel = Literal[
    "crnn_vgg16_bn",
    "crnn_mobilenet_v3_small",
    "crnn_mobilenet_v3_large",
    "sar_resnet31",
    "master",
    "vitstr_small",
    "vitstr_base",
    "parseq",
    "viptr_tiny",
]
RECOGNITION_MODELS: tuple[str, ...] = get_args(RecognitionModel)

DetectionModel = Literal[
    "db_resnet50",
    "db_resnet34",
    "db_mobilenet_v3_large",
    "linknet_resnet18",
    "linknet_resnet34",
    "linknet_resnet50",
    "fast_tiny",
    "fast_small",
    "fast_base",
]
DETECTION_MODELS: tuple[str, ...] = get_args(DetectionModel)

ORIENTATION_MODELS = ("mobilenet_v3_small_crop_orientation", "mobilenet_v3_small_page_orientation")
"""docTR's classifiers of word rotation and of page rotation; jobs cannot choose another one."""

MODEL_TASKS: dict[str, tuple[str, ...]] = {
    "recognition": RECOGNITION_MODELS,
    "detection": DETECTION_MODELS,
    "orientation": ORIENTATION_MODELS,
}
"""Architectures by task."""
