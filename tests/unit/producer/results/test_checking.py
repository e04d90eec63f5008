"""A job's threshold: a number, or what a comparison has found for its models."""

import json
from pathlib import Path
from typing import Any

import pytest

from contract.errors import OutsideAllowedRootsError, UsageError
from contract.kinds.detection import DetectionParameters
from contract.kinds.recognition import RecognitionParameters
from contract.storage import Storage
from contract.storage.roots import AllowedRoots
from producer.results.checking import thresholds_of

FIGURES = (
    "caseless",
    "anyascii",
    "unicase",
    "cer",
    "wer",
    "one_minus_ned",
    "outside_vocabulary",
    "within_vocabulary",
)


def model(name: str, threshold: float | None) -> dict[str, Any]:
    interval = [0.0, 1.0]
    exact = {"right": 1, "total": 1, "share": 1.0, "interval": interval}
    found = {"confidence": threshold, "accepted": 1, "review": 0, "precision": 1, "interval": interval}
    accuracy = {
        **dict.fromkeys(FIGURES),
        "exact": exact,
        "threshold": found if threshold is not None else None,
        "risk_coverage": [],
        **{name: {} for name in ("by_length", "by_group", "by_class", "kinds_of_error")},
        "confusions": [],
    }
    return {"name": name, "mean_confidence": 0.9, "accuracy": accuracy}


@pytest.fixture
def compared(tmp_path: Path) -> str:
    """Given the report of a comparison; no confidence of one model reaches the precision."""
    models = [model("parseq", 0.7), model("master", 0.9), model("crnn_vgg16_bn", None)]
    models.append(model("parseq>master@0.5", 0.8))
    report = {
        "title": "c",
        "target_precision": 0.99,
        "by": None,
        "crops": {"read": 1, "with_truth": 1, "without_truth": 0, "disagreements": 0},
        "truth": None,
        "notes": [],
        "models": models,
        "pairs": [],
        "checkpoints": [],
        "definitions": {},
    }
    (tmp_path / "compare").mkdir()
    (tmp_path / "compare" / "compare.json").write_text(json.dumps(report))
    return str(tmp_path / "compare")


@pytest.mark.parametrize(
    ("read_with", "thresholds"),
    [
        ("parseq", {"parseq": 0.7}),
        ("parseq>master@0.5", {"parseq>master@0.5": 0.8}),
        ("parseq>master@0.6", {"parseq": 0.7, "master": 0.9}),
    ],
)
def test_each_model_takes_the_threshold_that_the_comparison_found(
    read_with: str, thresholds: dict[str, float], compared: str, storage: Storage
) -> None:
    parameters = RecognitionParameters(recognition_model=read_with)

    assert thresholds_of(compared, parameters, storage) == thresholds


@pytest.mark.parametrize("read_with", ["crnn_vgg16_bn", "vitstr_small", "parseq>crnn_vgg16_bn@0.5"])
def test_a_model_without_a_threshold_is_named(read_with: str, compared: str, storage: Storage) -> None:
    with pytest.raises(UsageError, match=r"no threshold for (crnn_vgg16_bn|vitstr_small)"):
        thresholds_of(compared, RecognitionParameters(recognition_model=read_with), storage)


def test_a_number_is_one_threshold_and_nothing_is_none(storage: Storage) -> None:
    assert thresholds_of("0.8", RecognitionParameters(), storage) == 0.8
    assert thresholds_of(None, RecognitionParameters(), storage) is None


@pytest.mark.parametrize("given", ["high", "1.5", "nan", "-1", "/nowhere"])
def test_anything_else_is_refused(given: str, storage: Storage) -> None:
    with pytest.raises(UsageError, match="min_confidence"):
        thresholds_of(given, RecognitionParameters(), storage)


def test_a_kind_without_confidences_has_no_threshold(compared: str, storage: Storage) -> None:
    with pytest.raises(UsageError, match="no confidences"):
        thresholds_of(compared, DetectionParameters(), storage)


def test_a_comparison_outside_the_roots_is_not_opened(
    compared: str, storage: Storage, tmp_path: Path
) -> None:
    with pytest.raises(OutsideAllowedRootsError):
        thresholds_of(compared, RecognitionParameters(), storage, AllowedRoots((str(tmp_path / "other"),)))
