"""Scaling: the compiled kernel computes torch's bytes, or is not used."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import interpolate

from worker.kernels import resample
from worker.kernels.pixels import Pixels
from worker.kernels.resample import MAX_TAPS
from worker.kernels.scaling import make_resample
from worker.kernels.torch_resample import PROBES, kernel_agrees, resample_by_torch


def noise(height: int, width: int, seed: int = 0) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def both(crop: Pixels, height: int, width: int) -> tuple[Pixels, Pixels]:
    """Return what the process's own resample and torch make of a crop, in pieces of 32 by 128."""
    ours, torchs = np.zeros((2, 3, 32, 128), np.uint8)
    make_resample()(crop, height, width, ours)
    resample_by_torch(crop, height, width, torchs)
    return ours, torchs


@given(
    st.integers(2, 130), st.integers(2, 500), st.integers(1, 32), st.integers(1, 128), st.integers(0, 2**32)
)
@settings(max_examples=300, deadline=None)
def test_any_size_is_scaled_to_any_other_as_torch_does(
    height: int, width: int, to_height: int, to_width: int, seed: int
) -> None:
    ours, torchs = both(noise(height, width, seed), to_height, to_width)

    assert np.array_equal(ours, torchs)


@pytest.mark.parametrize("height", [2, 31, 32, 33, 64, 111, 112, 113, 128, 300])
def test_scales_on_both_sides_of_what_the_kernel_takes(height: int) -> None:
    ours, torchs = both(noise(height, 2 * height), 32, 64)

    assert np.array_equal(ours, torchs)


def test_views_and_buffers_that_cannot_be_written_are_taken() -> None:
    wide = noise(40, 300)
    view, frozen = wide[:, 20:150], np.frombuffer(wide.tobytes(), np.uint8).reshape(wide.shape)

    assert np.array_equal(*both(view, 32, 104))
    assert np.array_equal(*both(frozen, 17, 128))


@pytest.mark.parametrize("width", [40, 41, 42, 43])
def test_what_lies_outside_the_scaled_crop_is_left_alone(width: int) -> None:
    piece = np.full((3, 32, 128), 7, np.uint8)

    make_resample()(noise(40, 50), 30, width, piece)

    assert (piece[:, :, width:] == 7).all()
    assert (piece[:, 30:] == 7).all()
    assert not (piece[:, :30, :width] == 7).all()


@pytest.mark.parametrize(
    ("samples", "positions"), [(65, 32), (194, 95), (100, 32), (77, 70), (5, 128), (2, 1)]
)
def test_weights_are_those_that_torch_gives_an_impulse(samples: int, positions: int) -> None:
    impulses = torch.eye(samples)[None, None]

    of_torch = interpolate(
        impulses, size=(samples, positions), mode="bilinear", align_corners=False, antialias=True
    )

    first, count, weights = resample._table(samples, positions)
    ours = np.zeros((samples, positions), np.float32)
    for position in range(positions):
        taps = count[position]
        ours[first[position] : first[position] + taps, position] = weights[position, :taps]
    assert np.array_equal(ours, of_torch[0, 0].numpy())


def test_the_probes_need_every_number_of_samples_that_the_kernel_takes() -> None:
    needed = {
        int(taps)
        for height, width in PROBES
        for samples, positions in ((height, 32), (width, max(1, min(128, 32 * width // height))))
        for taps in resample._table(samples, positions)[1]
    }

    assert needed >= set(range(2, MAX_TAPS + 1))


def test_a_kernel_that_computes_other_bytes_on_this_machine_is_not_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    right = resample._compiled()

    def wrong(*arguments: Any) -> None:
        right(*arguments)
        arguments[-1][0, 0, 0] ^= 1

    monkeypatch.setattr(resample, "_compiled", lambda: wrong)

    assert not kernel_agrees()


@pytest.mark.skipif(
    torch.backends.cpu.get_cpu_capability() not in ("AVX2", "AVX512"),
    reason="elsewhere torch adds in another order, and its own kernel is used",
)
def test_where_torch_fuses_the_kernel_is_used() -> None:
    assert kernel_agrees()
