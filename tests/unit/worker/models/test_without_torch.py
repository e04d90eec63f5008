"""A worker on a CPU whose graph is cached reads crops in a process without torch, and reads the same."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from contract.errors import ModelUnavailableError
from contract.model_store import ModelStore
from contract.settings import Settings
from contract.storage import Storage
from tests.conftest import REPOSITORY, SAMPLES
from worker.images.decode import decode_crop
from worker.models import recognition
from worker.models.doctr_recognition import by_doctr
from worker.models.recognition import load_recogniser
from worker.models.runtimes import onnx, openvino
from worker.models.runtimes.base import RuntimeOptions
from worker.models.runtimes.graphs import HubFile, cached_graph, graph_path, write_card
from worker.models.weights import find_weights

ARCHITECTURE = "crnn_mobilenet_v3_small"
AUTO = RuntimeOptions("auto")
FILES = [SAMPLES / "crops" / name for name in ("0242.png", "0127.jpg", "0045.png")]

READS = """
import json, sys
from pathlib import Path

import worker.app.main
from contract.model_store import ModelStore
from contract.settings import Settings
from contract.storage import Storage
from worker.images.decode import decode_crop
from worker.models.recognition import load_recogniser
from worker.models.runtimes.base import RuntimeOptions

store = ModelStore(sys.argv[1], Storage(Settings()))
recogniser = load_recogniser("crnn_mobilenet_v3_small", store, "cpu", RuntimeOptions(sys.argv[2]))
crops = [recogniser.prepare(decode_crop(Path(path).read_bytes(), 10**7).pixels) for path in sys.argv[3:]]
read = [recogniser.join(crop.crop_map, recogniser.read(crop.pieces[0][None])) for crop in crops]
read.append(recogniser.join([(0, 2, 0.5)], [("abcd", 0.5), ("cdef", 1.0)]))
read += recogniser.restricted_to("0-9").read(crops[0].pieces[0][None])
print(json.dumps([recogniser.identity, read, sorted({"torch", "torchvision", "doctr"} & set(sys.modules))]))
"""
"""Reads files, joins pieces and restricts characters as a worker does; says which large libraries it took."""

pytestmark = pytest.mark.skipif(
    not onnx.is_installed(), reason="ONNX Runtime, the extra [onnx], is not installed"
)


@pytest.fixture(autouse=True)
def in_cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCTR_CACHE_DIR", str(cache))


@pytest.fixture
def without_doctr(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a docTR that must not be asked for."""

    def asked(module: str) -> None:
        raise AssertionError(f"{module} was asked for")

    monkeypatch.setattr(recognition, "doctr_side", asked)


def sha256_of(store: Path) -> str:
    return hashlib.sha256((store / f"{ARCHITECTURE}.pt").read_bytes()).hexdigest()


def store_at(folder: Path) -> ModelStore:
    return ModelStore(str(folder), Storage(Settings()))


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A model store that a test may change."""
    for suffix in (".pt", ".json"):
        (tmp_path / f"{ARCHITECTURE}{suffix}").write_bytes(
            (SAMPLES / "weights" / f"{ARCHITECTURE}{suffix}").read_bytes()
        )
    return tmp_path


with_openvino = pytest.mark.skipif(
    not openvino.is_installed(), reason="OpenVINO, the extra [openvino], is not installed"
)


@pytest.mark.parametrize("runtime", ["auto", pytest.param("openvino", marks=with_openvino)])
def test_the_process_has_no_torch_and_reads_what_doctrs_model_reads(cache: Path, runtime: str) -> None:
    command = [sys.executable, "-c", READS, str(SAMPLES / "weights"), runtime, *map(str, FILES)]
    environment = {**os.environ, "DOCTR_CACHE_DIR": str(cache)}
    made = subprocess.run(
        command,
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        check=True,
    )

    identity, read, large = json.loads(made.stdout.splitlines()[-1])

    weights = store_at(SAMPLES / "weights")
    doctrs = by_doctr(
        find_weights("recognition", ARCHITECTURE, weights), weights, "cpu", RuntimeOptions(runtime)
    )
    pieces = [doctrs.prepare(decode_crop(path.read_bytes(), 10**7).pixels).pieces[0][None] for path in FILES]
    expected = [doctrs.read(piece)[0] for piece in pieces]
    expected += [("abcdef", 0.75), doctrs.restricted_to("0-9").read(pieces[0])[0]]
    assert large == []
    assert list(identity.items()) == list(doctrs.identity.items())
    assert read == [list(one) for one in expected]


def test_a_graph_of_other_weights_is_not_used(store: Path) -> None:
    # given weights of another state under the same name, with their card
    other = SAMPLES / "weights" / "mobilenet-2025"
    (store / f"{ARCHITECTURE}.pt").write_bytes(other.with_suffix(".pt").read_bytes())
    (store / f"{ARCHITECTURE}.json").write_bytes(other.with_suffix(".json").read_bytes())

    assert cached_graph(ARCHITECTURE, sha256_of(store)) is None


def test_weights_that_were_replaced_without_their_card_are_refused(store: Path) -> None:
    with (store / f"{ARCHITECTURE}.pt").open("ab") as file:
        file.write(b"0")

    with pytest.raises(ModelUnavailableError, match="damaged or was replaced"):
        load_recogniser(ARCHITECTURE, store_at(store), "cpu", AUTO)


def test_a_card_with_another_vocabulary_is_left_to_doctr_which_refuses_it(store: Path) -> None:
    path = store / f"{ARCHITECTURE}.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "vocab": "0123456789"}))

    with pytest.raises(ModelUnavailableError, match="no weights for this architecture"):
        load_recogniser(ARCHITECTURE, store_at(store), "cpu", AUTO)


@pytest.mark.parametrize("suffix", [".onnx", ".json"])
def test_a_damaged_graph_or_card_is_not_used(suffix: str, store: Path) -> None:
    path = graph_path(ARCHITECTURE, sha256_of(store)).with_suffix(suffix)
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    try:
        assert cached_graph(ARCHITECTURE, sha256_of(store)) is None
    finally:
        path.write_bytes(whole)


def test_doctrs_own_weights_are_found_in_its_cache_without_it(
    cache: Path, store: Path, without_doctr: None
) -> None:
    # given a graph that was made of what docTR downloaded
    graph = cached_graph(ARCHITECTURE, sha256_of(store))
    assert graph
    url = "https://hub/models?id=v1/weights.pt&src=0"
    card = msgspec.structs.replace(graph.card, hub=HubFile(url, "weights.pt"))
    write_card(graph_path(ARCHITECTURE, sha256_of(store)), card)
    (cache / "models" / "weights.pt").write_bytes((store / f"{ARCHITECTURE}.pt").read_bytes())

    identity = load_recogniser(ARCHITECTURE, None, "cpu", AUTO).identity

    assert (identity["source"], identity["weights_sha256"]) == (url, sha256_of(store))
