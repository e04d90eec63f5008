"""Deep samples to 8 bits: each the number that 64-bit arithmetic gives, rounded down."""

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from contract.rgb import upright_rgb

Samples = npt.NDArray[np.generic]

RANDOM = np.random.default_rng(0)

LEVELS = (np.arange(256) / 255).astype(np.float32)
"""Where shares change from one level to the next."""


def eight_bits(samples: Samples) -> npt.NDArray[np.uint8]:
    """Return what the samples are to become."""
    values = np.nan_to_num(np.asarray(samples, dtype=np.float64), posinf=1e9, neginf=-1e9)
    if samples.dtype.kind == "f":
        values = values * 255 if values.max() <= 1 else values
    elif samples.dtype.itemsize == 2 or values.max() > 255:
        values = np.clip(values, 0, 65535) // 256
    return np.clip(values, 0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    "samples",
    [
        np.arange(65_536).astype(np.uint16),
        np.arange(256).astype(np.uint16),
        np.arange(70_000).astype(np.int32),
        RANDOM.integers(-(2**31), 2**31, 10_000).astype(np.int32),
        np.array([-9, 0, 255], np.int32),
        np.concatenate([LEVELS, np.nextafter(LEVELS, np.float32(0))]),
        RANDOM.random(100_000, np.float32),
        RANDOM.random(10_000, np.float32) * 400 - 50,
        np.array([-5, -1, -0.5, 0, 1], np.float32),
        np.array([np.nan, 0.5, 1], np.float32),
        np.array([np.inf, -np.inf, np.nan, 3, 200.7], np.float32),
        np.array([np.nan], np.float32),
    ],
    ids=[
        "16-bit",
        "16-dark",
        "32-bit",
        "32-all",
        "32-dark",
        "levels",
        "shares",
        "floats",
        "negative",
        "nan",
        "infinite",
        "nothing",
    ],
)
def test_each_sample_becomes_the_level_below_it(samples: Samples) -> None:
    image = Image.fromarray(samples.reshape(1, -1))

    levels = np.asarray(upright_rgb(image))

    assert np.array_equal(levels[0], np.repeat(eight_bits(samples)[:, None], 3, axis=1))


def test_big_endian_samples_too() -> None:
    samples = np.arange(65_536, dtype=">u2")
    image = Image.frombytes("I;16B", (len(samples), 1), samples.tobytes())

    assert np.array_equal(np.asarray(upright_rgb(image))[0, :, 0], eight_bits(samples))
