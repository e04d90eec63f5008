"""CTC decoding: the strings and confidences of docTR's own decoder."""

import numpy as np
import pytest
import torch
from doctr.datasets import VOCABS
from doctr.models.recognition.crnn.pytorch import CTCPostProcessor

from worker.models.ctc import CtcDecoder, Forbidden, Prediction, best_paths
from worker.models.doctr_recognition import _ctc, best_paths_of, decode_tensor, read_best_paths
from worker.models.runtimes.torch import ReadLogits

VOCAB = VOCABS["french"]


def logits_of(path: list[int], classes: int) -> torch.Tensor:
    """Logits whose best path is the one given."""
    return 5 * torch.nn.functional.one_hot(torch.tensor([path]), classes).float()


def assert_same(ours: list[Prediction], theirs: list[Prediction]) -> None:
    assert [value for value, _ in ours] == [value for value, _ in theirs]
    assert [c for _, c in ours] == pytest.approx([c for _, c in theirs], abs=1e-6)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("pieces", [1, 7, 128])
def test_random_logits_are_decoded_as_doctr_does(seed: int, pieces: int) -> None:
    # given logits in which blanks and repeats are as frequent as in real ones
    torch.manual_seed(seed)
    logits = torch.randn(pieces, 32, len(VOCAB) + 1)
    logits[:, :, -1] += 2.5
    logits[:, 1::3] = logits[:, 0:31:3] + 0.01 * logits[:, 1::3]

    ours, theirs = decode_tensor(CtcDecoder(VOCAB), logits), CTCPostProcessor(VOCAB)(logits)

    assert_same(ours, theirs)
    assert len({len(value) for value, _ in ours}) > 1 or pieces == 1


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ([0, 0, 1, 1], "ab"),
        ([0, 3, 0, 0], "aa"),
        ([3, 3, 3, 3], ""),
        ([3, 2, 3, 2], "cc"),
        ([2, 2, 2, 2], "c"),
        ([0, 1, 0, 1], "abab"),
    ],
)
def test_repeats_collapse_unless_a_blank_lies_between(path: list[int], text: str) -> None:
    logits = logits_of(path, 4)

    assert_same(decode_tensor(CtcDecoder("abc"), logits), CTCPostProcessor("abc")(logits))
    assert decode_tensor(CtcDecoder("abc"), logits)[0][0] == text


def test_a_repeat_does_not_reach_into_the_next_piece() -> None:
    logits = torch.cat([logits_of([3, 0], 4), logits_of([0, 3], 4)])

    assert [value for value, _ in decode_tensor(CtcDecoder("abc"), logits)] == ["a", "a"]


def test_characters_of_any_plane() -> None:
    vocab = "aé€😀"

    assert decode_tensor(CtcDecoder(vocab), logits_of([3, 2, 1, 0], 5))[0][0] == "😀€éa"


def test_confidences_are_floats_in_0_to_1() -> None:
    (_, confidence), *_ = decode_tensor(CtcDecoder("abc"), torch.randn(3, 8, 4))

    assert isinstance(confidence, float)
    assert 0 <= confidence <= 1


def test_half_precision() -> None:
    logits = torch.from_numpy(np.random.default_rng(0).normal(size=(4, 8, 4))).to(torch.bfloat16)

    assert_same(decode_tensor(CtcDecoder("abc"), logits), CTCPostProcessor("abc")(logits.float()))


def test_what_is_computed_on_a_device_is_the_same() -> None:
    logits = torch.randn(9, 32, len(VOCAB) + 1)
    (paths, confidences), (there, confident) = (
        best_paths(logits.numpy()),
        best_paths_of(read_best_paths(logits)),
    )

    assert np.array_equal(paths, there)
    assert confidences == pytest.approx(confident, abs=1e-6)


@pytest.mark.parametrize("forbidden", [None, np.arange(len(VOCAB) + 1) % 3 == 0])
def test_what_a_gpu_has_read_in_its_forward_is_what_its_logits_say(forbidden: Forbidden | None) -> None:
    logits = torch.randn(9, 32, len(VOCAB) + 1)

    read = _ctc(VOCAB)(ReadLogits(logits, read_best_paths(logits)), forbidden)

    expected = decode_tensor(CtcDecoder(VOCAB), logits, forbidden)
    assert [text for text, _ in read] == [text for text, _ in expected]
    assert [confidence for _, confidence in read] == pytest.approx([confidence for _, confidence in expected])
