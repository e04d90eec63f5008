"""What contestants read: crops, and a model with its weights."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from doctr.models import recognition
from doctr.models.utils import export_model_to_onnx

SAMPLES = Path(__file__).resolve().parents[1] / "samples"
MOBILENET, VGG = "crnn_mobilenet_v3_small", "crnn_vgg16_bn"
BATCH = 128


@dataclass(frozen=True)
class Scene:
    """What all contestants read: a folder of crops, and weights in a model store."""

    crops: Path
    files: list[Path]
    store: Path
    architecture: str

    def model(self) -> Any:
        """Return docTR's model with the weights."""
        card = json.loads((self.store / f"{self.architecture}.json").read_text(encoding="utf-8"))
        build = getattr(recognition, self.architecture)
        model = build(pretrained=False, pretrained_backbone=False, vocab=card["vocab"])
        model.load_state_dict(torch.load(self.store / f"{self.architecture}.pt", weights_only=True))
        return model.eval()


def make_scene(folder: Path, architecture: str, count: int) -> Scene:
    """Return a scene of `count` crops; vgg has random weights of a fixed seed, mobilenet the bundled ones."""
    crops = folder / f"crops-{architecture}"
    crops.mkdir()
    samples = sorted(path for path in (SAMPLES / "crops").iterdir() if path.suffix in {".png", ".jpg"})
    for index in range(count):
        source = samples[index % len(samples)]
        (crops / f"{index:06d}{source.suffix}").write_bytes(source.read_bytes())
    store = SAMPLES / "weights"
    if architecture != MOBILENET:
        store = folder / "weights"
        store.mkdir(exist_ok=True)
        torch.manual_seed(20)
        model = getattr(recognition, architecture)(pretrained=False, pretrained_backbone=False)
        path = store / f"{architecture}.pt"
        torch.save(model.state_dict(), path)
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        card = {"architecture": architecture, "vocab": model.vocab, "sha256": sha256}
        path.with_suffix(".json").write_text(json.dumps(card), encoding="utf-8")
    return Scene(crops, sorted(crops.iterdir()), store, architecture)


def exported_by_doctr(model: Any, path: Path) -> str:
    """Export docTR's model by docTR's exporter, which adds `.onnx` to the path; return the file's name."""
    model.exportable = True
    return export_model_to_onnx(model, str(path), torch.zeros(1, *model.cfg["input_shape"]))


def has_avx512() -> bool:
    """Return whether torch computes with AVX-512 here: docTR gains more from it than we do."""
    return torch.backends.cpu.get_cpu_capability() == "AVX512"
