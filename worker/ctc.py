"""CTC decoding of a whole batch at once: docTR's strings and confidences without its loop over columns."""

import numpy as np
import torch
from torch.nn import functional

from worker.batching import Prediction


class CtcDecoder:
    """Greedy decoding of a CRNN's logits.

    Args:
        vocab: the model's characters, in the order of its classes; the class behind the last one is the blank
    """

    def __init__(self, vocab: str) -> None:
        self._blank = len(vocab)
        self._code_points = np.array([ord(character) for character in vocab], "<u4")

    def __call__(self, logits: torch.Tensor) -> list[Prediction]:
        """Return (string, confidence) of each piece.

        Args:
            logits: (n, columns, len(vocab) + 1), of any floating type and on any device
        """
        # The confidence is docTR's own expression: the least of the columns' greatest probabilities.
        confidences = functional.softmax(logits, dim=-1).max(dim=-1).values.min(dim=1).values
        paths = torch.argmax(logits, dim=-1).cpu().numpy()
        return list(zip(self._texts(paths), confidences.tolist(), strict=True))

    def _texts(self, paths: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> list[str]:
        """Return the strings of best paths, (n, columns): repeats collapsed, then blanks dropped."""
        kept = paths != self._blank
        kept[:, 1:] &= paths[:, 1:] != paths[:, :-1]
        characters = self._code_points[paths[kept]].tobytes().decode("utf-32-le", "surrogatepass")
        ends = np.cumsum(kept.sum(axis=1)).tolist()
        return [characters[start:end] for start, end in zip([0, *ends], ends, strict=False)]
