"""`trace-ocr models check`: one model, loaded as a worker does, reads one image."""

from pathlib import Path

import pytest

from contract.errors import UsageError
from contract.settings import Settings
from worker.app.check import DRAWN, check_model, drawn_image


@pytest.fixture
def checking(samples: Path) -> Settings:
    return Settings(model_store=str(samples / "weights"), devices="cpu", runtime="torch")


@pytest.mark.parametrize("name", ["crnn_mobilenet_v3_small", "mobilenet-2025"])
def test_a_recognition_model_reads_what_is_drawn(name: str, checking: Settings) -> None:
    found = check_model(name, drawn_image(), checking)

    assert found["model"]["name"] == name
    assert found["line"].value == DRAWN
    assert found["load_seconds"] > 0


def test_a_detection_model_finds_the_words(checking: Settings, samples: Path) -> None:
    found = check_model("linknet_resnet18", (samples / "pages" / "letter.jpg").read_bytes(), checking)

    assert len(found["line"].bounding_boxes) > 10


def test_what_is_no_model_is_refused(checking: Settings) -> None:
    with pytest.raises(UsageError, match="models list"):
        check_model("nothing", drawn_image(), checking)
