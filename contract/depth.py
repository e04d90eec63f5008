"""Samples of more than 8 bits to 8 bits."""

from typing import cast

from PIL import Image, ImageMath

_UNIT = 2**31
"""The integer that represents 1.0; -2**31 is the largest power of 2 in 32 bits."""


def to_eight_bits(image: Image.Image) -> Image.Image:
    """Scale 16-bit or 32-bit integers, or floats, to mode L; the conversion clips and rounds down."""
    if image.mode == "F":
        # max() turns a NaN into 0.
        floats = ImageMath.lambda_eval(lambda names: names["max"](names["image"], 0), image=image)
        return (floats if _highest(floats) > 1 else _of_shares(floats)).convert("L")
    samples = image.convert("I")
    deep = image.mode != "I" or _highest(samples) > 255
    return (samples.point(lambda sample: sample * (1 / 256)) if deep else samples).convert("L")


def _of_shares(floats: Image.Image) -> Image.Image:
    """Return 0..1 as 0..255 in mode I, rounded down. Times 255 as a 32-bit float would round up."""
    integers = floats.point(lambda sample: sample * -_UNIT).convert("I")
    return integers.point(lambda sample: sample * (-255 / _UNIT))


def _highest(image: Image.Image) -> float:
    # An image with one band has one pair.
    return cast("tuple[float, float]", image.getextrema())[1]
