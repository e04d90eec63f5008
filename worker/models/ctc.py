"""CTC decoding of a whole batch at once: docTR's strings and confidences, without its loop over columns."""

import numpy as np
import numpy.typing as npt

Prediction = tuple[str, float]
"""A string and its confidence in 0..1."""

Logits = npt.NDArray[np.floating]
"""(n, columns, classes): of each piece's columns, by class."""

Forbidden = npt.NDArray[np.bool_]
"""(classes,): which of a model's classes must not be chosen."""

Paths = npt.NDArray[np.int64] | npt.NDArray[np.int32]
Confidences = npt.NDArray[np.float32]


class CtcDecoder:
    """Greedy decoding of a CRNN's logits.

    Args:
        vocab: the model's characters, in the order of its classes; the class after the last one is the blank
    """

    def __init__(self, vocab: str) -> None:
        self._blank = len(vocab)
        self._code_points = np.array([ord(character) for character in vocab], "<u4")

    def __call__(self, logits: Logits, forbidden: Forbidden | None = None) -> list[Prediction]:
        """Return (string, confidence) of each piece.

        Args:
            logits: their last axis has len(vocab) + 1 classes
            forbidden: classes that are not chosen
        """
        values = logits.astype(np.float32, copy=False)
        if forbidden is not None:
            values = np.where(forbidden, np.float32("-inf"), values)
        return self.predictions(*best_paths(values))

    def predictions(self, paths: Paths, confidences: Confidences) -> list[Prediction]:
        """Return (string, confidence) of best paths, (n, columns): collapse repeats, then drop blanks."""
        kept = paths != self._blank
        kept[:, 1:] &= paths[:, 1:] != paths[:, :-1]
        characters = self._code_points[paths[kept]].tobytes().decode("utf-32-le", "surrogatepass")
        ends = np.cumsum(kept.sum(axis=1)).tolist()
        texts = [characters[start:end] for start, end in zip([0, *ends], ends, strict=False)]
        return list(zip(texts, confidences.tolist(), strict=True))


def best_paths(logits: Logits) -> tuple[Paths, Confidences]:
    """Return the best classes, (n, columns), and confidences, (n,), as docTR defines them.

    The confidence is the minimum over columns of the maximum probability. Torch would wake all its threads
    for each of these small steps, at 250 us of processor time per crop while decoding threads run.
    """
    paths = logits.argmax(axis=-1)
    greatest = np.take_along_axis(logits, paths[..., None], axis=-1)
    return paths, (1 / np.exp(logits - greatest).sum(axis=-1)).min(axis=1)
