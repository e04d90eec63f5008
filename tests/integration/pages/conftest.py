"""The models and docTR's reading of the sample pages, made once for all tests of pages."""

import hashlib
import json
from typing import Any

import pytest
import torch
from doctr.models import classification, ocr_predictor

from contract.kinds.ocr import OcrParameters
from contract.model_store import ModelStore
from contract.settings import Settings
from contract.storage import Storage
from tests.integration.pages.doctrs import MODELS, SAMPLES, doctrs_predictor, pixels_of, sample_items
from worker.models.orientation import CROP_ORIENTATION, PAGE_ORIENTATION


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> ModelStore:
    """The sample weights, and orientation classifiers of random ones, so that every class occurs."""
    folder = tmp_path_factory.mktemp("store")
    for path in (SAMPLES / "weights").iterdir():
        (folder / path.name).symlink_to(path)
    for seed, name in enumerate((CROP_ORIENTATION, PAGE_ORIENTATION)):
        torch.manual_seed(seed)
        weights = folder / f"{name}.pt"
        torch.save(getattr(classification, name)(pretrained=False).state_dict(), weights)
        card = {"architecture": name, "sha256": hashlib.sha256(weights.read_bytes()).hexdigest()}
        (folder / f"{name}.json").write_text(json.dumps(card), encoding="utf-8")
    return ModelStore(str(folder), Storage(Settings()))


@pytest.fixture(scope="session")
def doctrs(store: ModelStore) -> dict[str, Any]:
    """docTR's own `Page` of each sample page, read alone, in source order."""
    predictor = doctrs_predictor(ocr_predictor, store, OcrParameters(**MODELS))  # type: ignore[arg-type]
    items = sorted(sample_items(), key=lambda item: item.id)
    pages = {item.id: predictor([pixels_of(item)]).pages[0] for item in items}
    for item in items:
        pages[item.id].page_idx = (item.page or 1) - 1
    return pages
