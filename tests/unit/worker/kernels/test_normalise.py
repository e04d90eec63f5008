"""Normalisation of batches: docTR's bits, from one way through memory."""

import numpy as np
import pytest
import torch
from torchvision.transforms import Normalize

from worker.kernels.normalise import Normaliser

CFG = {"mean": (0.694, 0.695, 0.693), "std": (0.299, 0.296, 0.301)}
"""docTR's for recognition."""


@pytest.mark.parametrize("pieces", [0, 1, 7])
def test_a_batch_is_normalised_to_the_bits_of_doctrs_own_operations(pieces: int) -> None:
    # Given pieces with every byte in them
    batch = np.random.default_rng(0).integers(0, 256, (pieces, 3, 32, 128), np.uint8)
    # When they are normalised on the CPU
    values = torch.from_numpy(Normaliser(CFG["mean"], CFG["std"])(batch))
    # Then each float is the one that docTR would have given the model
    expected = Normalize(CFG["mean"], CFG["std"])(torch.from_numpy(batch).float() / 255)
    assert values.dtype == torch.float32
    assert torch.equal(values, expected)


def test_a_part_of_a_batch_is_normalised_where_it_lies() -> None:
    # Given a part of a batch, as a core takes it
    batch = np.random.default_rng(1).integers(0, 256, (8, 3, 32, 128), np.uint8)
    normalise = Normaliser(CFG["mean"], CFG["std"])
    # When it is normalised alone
    part = normalise(batch[2:5])
    # Then it comes to what it comes to in the whole
    assert np.array_equal(part, normalise(batch)[2:5])
