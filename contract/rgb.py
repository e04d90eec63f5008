"""Any image to upright 8-bit RGB: depth, transparency, colour spaces, orientation."""

from PIL import Image, ImageCms, ImageMath, ImageOps

from contract.depth import to_eight_bits

LEAST_CONTRAST = 32
"""Levels between the darkest and the brightest pixel, below which nothing can be read: an eighth of all."""

_TRANSPARENT = "transparency"
"""Pillow's name for the colour of a file that is transparent."""


def upright_rgb(image: Image.Image) -> Image.Image:
    """Return an opened image upright, as 8-bit RGB; raises the exceptions of its Pillow plugin.

    16-bit samples keep their upper byte; so do 32-bit samples, unless none is above 255. Floats are in 0..1
    if none is above 1. Alpha is composited over white, as viewers do, or over black if only that shows
    anything; an alpha that is 0 everywhere is none.
    """
    image = _upright(image)
    if image.mode == "F" or image.mode.startswith("I"):
        image = _with_key(to_eight_bits(image), image)
    if image.mode == "LAB":
        return lab_to_rgb(image)
    if image.has_transparency_data:
        return _on_ground(image)
    return image.convert("RGB")


def lab_to_rgb(image: Image.Image) -> Image.Image:
    """Return an image of CIE's L*a*b* as sRGB."""
    profiles = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    converted = ImageCms.applyTransform(image, ImageCms.buildTransform(*profiles, "LAB", "RGB"))
    assert converted
    return converted


def _upright(image: Image.Image) -> Image.Image:
    """Turn the image as its EXIF block says; with a damaged block, return it unchanged."""
    image.load()
    try:
        return ImageOps.exif_transpose(image)
    except MemoryError:
        raise
    # Any exception: the block is untrusted.
    except Exception:
        return image


def _with_key(levels: Image.Image, deep: Image.Image) -> Image.Image:
    """Return the levels of deep samples, transparent where the file says so: at one value before rounding."""
    key = deep.info.get(_TRANSPARENT)
    if not isinstance(key, int):
        return levels
    shown = ImageMath.lambda_eval(lambda names: (names["samples"] != key) * 255, samples=deep.convert("I"))
    levels.putalpha(shown.convert("L"))
    return levels


def _on_ground(image: Image.Image) -> Image.Image:
    opaque = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
    if opaque.getchannel("A").getextrema() == (0, 0):
        return opaque.convert("RGB")
    on_white = _composited(opaque, "white")
    if _contrast(on_white) >= LEAST_CONTRAST:
        return on_white
    on_black = _composited(opaque, "black")
    return on_black if _contrast(on_black) >= LEAST_CONTRAST else on_white


def _composited(image: Image.Image, ground: str) -> Image.Image:
    return Image.alpha_composite(Image.new("RGBA", image.size, ground), image).convert("RGB")


def _contrast(image: Image.Image) -> int:
    darkest, brightest = image.convert("L").getextrema()
    assert isinstance(darkest, int)
    assert isinstance(brightest, int)
    return brightest - darkest
