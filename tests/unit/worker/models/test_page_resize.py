"""A page is scaled to a detection model's input with docTR's bytes."""

import numpy as np
import pytest
import torch
from doctr.transforms import Resize
from doctr.utils import Sample

from worker.kernels.pixels import Pixels
from worker.models.detection import PageResize


def page_of(height: int, width: int) -> Pixels:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def by_doctr(page: Pixels, shape: tuple[int, int], *, preserve: bool, symmetric: bool) -> Pixels:
    tensor = torch.from_numpy(page).permute(2, 0, 1)
    resize = Resize(shape, preserve_aspect_ratio=preserve, symmetric_pad=symmetric)
    scaled: Pixels = resize(Sample(image=tensor)).image.numpy()
    return scaled


@pytest.mark.parametrize(
    ("preserve", "symmetric"),
    [(True, True), (True, False), (False, False)],
    ids=["middle", "corner", "whole"],
)
@pytest.mark.parametrize(
    "size",
    [(260, 200), (200, 261), (131, 97), (256, 256), (257, 256), (900, 620), (1000, 700), (2, 300), (400, 3)],
    ids=["tall", "wide", "small", "same", "nearly", "scan", "large", "flat", "thin"],
)
@pytest.mark.parametrize("shape", [(256, 256), (192, 256)], ids=["square", "oblong"])
def test_a_page_is_scaled_and_padded_as_doctr_does(
    shape: tuple[int, int], size: tuple[int, int], preserve: bool, symmetric: bool
) -> None:
    page = page_of(*size)

    resized = PageResize((3, *shape), preserve_aspect_ratio=preserve, symmetric_padding=symmetric)(page)

    assert resized.flags.c_contiguous
    assert np.array_equal(resized, by_doctr(page, shape, preserve=preserve, symmetric=symmetric))
