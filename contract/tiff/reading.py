"""A page of a TIFF as an image: by Pillow if it knows the layout of the samples, else from the samples here.

Pillow has a list of layouts. It gets the pixels of some on it wrong, and refuses others.
"""

from typing import BinaryIO

from PIL import Image, ImageChops, UnidentifiedImageError

from contract.counting import counted
from contract.errors import UnsupportedImageError
from contract.rgb import lab_to_rgb
from contract.tiff import Directory, tags
from contract.tiff.page_file import open_page
from contract.tiff.samples import Samples

_SIGN = 0x80
"""The highest bit of a byte."""


def read_page(file: BinaryIO, directory: Directory) -> Image.Image:
    """Return the image of a directory, with its orientation still to be applied.

    Raises:
        UnsupportedImageError: the layout of the samples is not supported
        Exception: the page is damaged; Pillow's plugin raises many types
    """
    directory = _with_deep_map(directory)
    if not _misread(directory):
        try:
            image: Image.Image = open_page(file, directory)
        except UnidentifiedImageError:
            # Pillow does not know the layout.
            pass
        else:
            lost = directory.number(tags.EXTRA_SAMPLES) == tags.ASSOCIATED and _is_all_zero(image)
            if not lost:
                return image
            # Colours times an alpha that is 0 everywhere: the alpha was never meant.
            return read_page(file, directory.changed({tags.EXTRA_SAMPLES: (tags.UNASSOCIATED,)}))
    image = _composed(Samples(file, directory), directory)
    image.getexif()[tags.ORIENTATION] = directory.orientation
    return image


def _with_deep_map(directory: Directory) -> Directory:
    """Return the directory with colours of 16 bits in its map: some writers store 8, as libtiff knows too."""
    colours = directory.numbers(tags.COLOUR_MAP)
    if not colours or max(colours) > 255:
        return directory
    return directory.changed({tags.COLOUR_MAP: tuple(colour * 257 for colour in colours)})


def _misread(directory: Directory) -> bool:
    """Return whether Pillow decodes the page and gets it wrong."""
    bits, meaning = max(directory.bits), directory.number(tags.PHOTOMETRIC)
    raw = directory.compression == tags.RAW
    if directory.separate and directory.number(tags.SAMPLES, 1) > 1:
        plain = bits == 8 and directory.number(tags.EXTRA_SAMPLES) != tags.ASSOCIATED
        odd = tags.COLOURS.get(meaning) == 1 or (meaning == tags.YCBCR and directory.number(tags.SAMPLES) > 3)
        return odd or (raw and (meaning not in (tags.RGB, tags.CMYK) or not plain))
    if raw and meaning == tags.YCBCR:
        return directory.numbers(tags.SUBSAMPLING, (2, 2)) != (1, 1)
    kind = directory.number(tags.SAMPLE_FORMAT, tags.UNSIGNED)
    # libtiff swaps the bytes of compressed samples, and Pillow then does it again.
    swapped = directory.order == ">" and not raw and bits >= 16 and kind != tags.UNSIGNED
    return (
        bits == 12
        or (bits == 32 and kind == tags.UNSIGNED)
        or swapped
        or (meaning == tags.WHITE_IS_ZERO and bits >= 16)
    )


def _is_all_zero(image: Image.Image) -> bool:
    """Return whether the last band, the alpha, is 0 everywhere."""
    image.load()
    return image.getchannel(len(image.getbands()) - 1).getextrema() == (0, 0)


def _composed(samples: Samples, directory: Directory) -> Image.Image:
    meaning = directory.number(tags.PHOTOMETRIC)
    if meaning not in tags.COLOURS or (meaning == tags.PALETTE and directory.bits[0] > 8):
        raise UnsupportedImageError(f"photometric interpretation {meaning} of {directory.bits[0]} bits")
    blocks = directory.numbers(tags.SUBSAMPLING, (2, 2)) if meaning == tags.YCBCR else (1, 1)
    whole = blocks == (1, 1)
    planes = samples.planes(scaled=meaning != tags.PALETTE) if whole else samples.subsampled(*blocks[:2])
    colours, others = planes[: tags.COLOURS[meaning]], planes[tags.COLOURS[meaning] :]
    if len(colours) < tags.COLOURS[meaning]:
        raise UnsupportedImageError(
            f"{counted(len(colours), 'sample')} of photometric interpretation {meaning}"
        )
    image = _coloured(meaning, colours, directory)
    if meaning == tags.PALETTE:
        # Numbers of colours are not scaled, alpha is.
        others = [
            plane.point(lambda sample: sample * 255 // (2 ** directory.bits[0] - 1)) for plane in others
        ]
    extra = directory.numbers(tags.EXTRA_SAMPLES, (tags.UNASSOCIATED,) if meaning == tags.RGB else ())
    alphas = [
        (kind, plane)
        for kind, plane in zip(extra, others, strict=False)
        if kind in (tags.ASSOCIATED, tags.UNASSOCIATED)
    ]
    # Inks times alpha are what is seen on white paper.
    if not alphas or (meaning == tags.CMYK and alphas[0][0] == tags.ASSOCIATED):
        return image
    return _with_alpha(image, *alphas[0], multiplied=meaning != tags.PALETTE)


def _coloured(meaning: int, planes: list[Image.Image], directory: Directory) -> Image.Image:
    """Return planes as an image of mode L or RGB."""
    if meaning in (tags.WHITE_IS_ZERO, tags.BLACK_IS_ZERO):
        return ImageChops.invert(planes[0]) if meaning == tags.WHITE_IS_ZERO else planes[0]
    if meaning == tags.PALETTE:
        colours = directory.numbers(tags.COLOUR_MAP)
        size = len(colours) // 3
        image = planes[0].copy()
        image.putpalette([colours[band * size + number] >> 8 for number in range(size) for band in range(3)])
        return image.convert("RGB")
    if meaning == tags.LAB:
        bright, *signed = planes
        shifted = [plane.point(lambda sample: sample ^ _SIGN) for plane in signed]
        return lab_to_rgb(Image.merge("LAB", [bright, *shifted]))
    modes = {tags.RGB: "RGB", tags.CMYK: "CMYK", tags.YCBCR: "YCbCr"}
    return Image.merge(modes[meaning], planes).convert("RGB")


def _with_alpha(image: Image.Image, kind: int, alpha: Image.Image, *, multiplied: bool) -> Image.Image:
    if kind == tags.ASSOCIATED and multiplied and alpha.getextrema() != (0, 0):
        mode, plain = ("La", "LA") if image.mode == "L" else ("RGBa", "RGBA")
        return Image.merge(mode, [*image.split(), alpha]).convert(plain)
    image.putalpha(alpha)
    return image
