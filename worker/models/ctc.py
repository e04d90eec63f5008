"""CTC decoding of a whole batch at once: docTR's strings and confidences, without its loop over columns."""

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

Prediction = tuple[str, float]
"""A string and its confidence in 0..1."""

Paths = npt.NDArray[np.int64]
Confidences = npt.NDArray[np.float32]


class CtcDecoder:
    """Greedy decoding of a CRNN's logits.

    Args:
        vocab: the model's characters, in the order of its classes; the class after the last one is the blank
    """

    def __init__(self, vocab: str) -> None:
        self._blank = len(vocab)
        self._code_points = np.array([ord(character) for character in vocab], "<u4")

    def __call__(self, logits: torch.Tensor) -> list[Prediction]:
        """Return (string, confidence) of each piece.

        Args:
            logits: (n, columns, len(vocab) + 1), of any floating type and on any device
        """
        paths, confidences = _on_cpu(logits) if logits.device.type == "cpu" else _on_device(logits)
        return list(zip(self._texts(paths), confidences.tolist(), strict=True))

    def _texts(self, paths: Paths) -> list[str]:
        """Return the strings of best paths, (n, columns): collapse repeats, then drop blanks."""
        kept = paths != self._blank
        kept[:, 1:] &= paths[:, 1:] != paths[:, :-1]
        characters = self._code_points[paths[kept]].tobytes().decode("utf-32-le", "surrogatepass")
        ends = np.cumsum(kept.sum(axis=1)).tolist()
        return [characters[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def _on_cpu(logits: torch.Tensor) -> tuple[Paths, Confidences]:
    """Return the best classes, (n, columns), and confidences, (n,), as docTR defines them, with numpy.

    The confidence is the minimum over columns of the maximum probability. Torch would wake all its threads
    for each of these small steps, at 250 us of processor time per crop while decoding threads run.
    """
    values = logits.detach().float().numpy()
    paths = values.argmax(axis=-1)
    greatest = np.take_along_axis(values, paths[..., None], axis=-1)
    return paths, (1 / np.exp(values - greatest).sum(axis=-1)).min(axis=1)


def _on_device(logits: torch.Tensor) -> tuple[Paths, Confidences]:
    """Return the same, computed on the logits' device: only a hundredth of their bytes is copied."""
    confidences = functional.softmax(logits, dim=-1).amax(dim=-1).amin(dim=1)
    return torch.argmax(logits, dim=-1).cpu().numpy(), confidences.float().cpu().numpy()
