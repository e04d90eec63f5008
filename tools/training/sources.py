"""Fonts and word lists of the synthetic images."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from doctr.datasets import VOCABS

from tools.training.errors import MissingSourceError
from tools.training.faces import Faces

VOCAB = VOCABS["french"]  # the vocabulary of the bundled recognition model: docTR's own default

# Debian packages and their licences, as their copyright files name them.
FONT_PACKAGES = {
    "fonts-cantarell": "OFL-1.1",
    "fonts-comic-neue": "OFL-1.1",
    "fonts-crosextra-caladea": "OFL-1.1",
    "fonts-crosextra-carlito": "OFL-1.1",
    "fonts-dejavu": "Bitstream-Vera",
    "fonts-firacode": "OFL-1.1",
    "fonts-freefont-otf": "GPL-3+ with font exception",
    "fonts-freefont-ttf": "GPL-3+ with font exception",
    "fonts-hack": "Expat and Bitstream-Vera",
    "fonts-inconsolata": "OFL-1.0",
    "fonts-junicode": "OFL-1.1",
    "fonts-lato": "OFL-1.1",
    "fonts-liberation2": "OFL-1.1",
    "fonts-linuxlibertine": "OFL-1.1 or GPL-2+ with font exception",
    "fonts-noto-core": "OFL-1.1",
    "fonts-noto-mono": "OFL-1.1",
    "fonts-open-sans": "Apache-2.0",
    "fonts-roboto": "Apache-2.0",
    "fonts-texgyre": "GUST Font License",
    "fonts-urw-base35": "AGPL-3 with font exception",
}
WORD_PACKAGES = {"wamerican-large": "SCOWL", "wbritish": "SCOWL", "wfrench": "GPL-2+"}
FONT_FOLDERS = (
    Path("/usr/share/fonts/opentype"),
    Path("/usr/share/fonts/truetype"),
    Path("/usr/share/texmf/fonts/opentype"),
)
WORD_FOLDER = Path("/usr/share/dict")
ENGLISH_LISTS = ("american-english-large", "british-english")
FRENCH_LISTS = ("french",)

# Not used for training: they draw the validation sets, in this order. Every twelfth of the packages' text
# fonts, by name, so that another font on a machine changes no figure.
HELD_OUT = (
    "Cantarell-Bold.otf",
    "FreeMonoBold.otf",
    "JunicodeTwoBeta-BoldItalic.otf",
    "JunicodeTwoBeta-ExpandedMediumItalic.otf",
    "JunicodeTwoBeta-SemiCondensedLightItalic.otf",
    "JunicodeTwoBeta-SemiboldItalic.otf",
    "C059-BdIta.otf",
    "NimbusSans-Bold.otf",
    "URWBookman-Demi.otf",
    "Caladea-Regular.ttf",
    "DejaVuSansCondensed-Oblique.ttf",
    "DejaVuSerifCondensed-Italic.ttf",
    "FreeSans.ttf",
    "Inconsolata.otf",
    "Lato-Medium.ttf",
    "LiberationSans-BoldItalic.ttf",
    "NotoSansDisplay-BoldItalic.ttf",
    "NotoSerifDisplay-Regular.ttf",
    "OpenSans-Semibold.ttf",
    "Roboto-Bold.ttf",
    "texgyreadventor-italic.otf",
    "texgyreheros-bolditalic.otf",
    "texgyreschola-bolditalic.otf",
)
LONGEST_WORD = 16  # characters: more do not stay readable in an image of 128 pixels
# Files that draw no Latin text: symbol faces, initials and keys, and Noto's other scripts.
NOT_TEXT = (
    "symbol",
    "dingbat",
    "emoji",
    "music",
    "math",
    "d050000",
    "tengwar",
    "linbiolinum_k",
    "linlibertine_i.",
)
NOTO_LATIN = ("notosans-", "notoserif-", "notosansmono", "notosansdisplay-", "notoserifdisplay-")
# Likely fonts of office documents: the faces of the curriculum's first images.
ORDINARY = ("liberation", "dejavu", "carlito", "caladea", "lato-regular", "lato-bold", "opensans-regular")


@dataclass(frozen=True)
class Fonts:
    """The faces that may be trained on, and those held out for validation."""

    train: Faces
    held_out: Faces


@dataclass(frozen=True)
class Words:
    """Dictionary words, each within the vocabulary and at most `LONGEST_WORD` characters."""

    english: tuple[str, ...]
    french: tuple[str, ...]


def install_hint() -> str:
    """What to do about a missing source, as a clause."""
    return "install Debian's packages: apt-get install " + " ".join([*FONT_PACKAGES, *WORD_PACKAGES])


def draws_text(path: Path) -> bool:
    """Whether a font file is meant for Latin text, judged by its name."""
    name = path.name.lower()
    if any(part in name for part in NOT_TEXT):
        return False
    return not name.startswith("noto") or name.startswith(NOTO_LATIN)


def find_fonts(folders: Iterable[Path] = FONT_FOLDERS) -> Fonts:
    """The Latin text fonts under `folders`: to train on, by path, and held out, in their own order.

    Raises:
        MissingSourceError: a held-out font is missing, or there is nothing to train on
    """
    files = sorted((path for folder in folders for path in Path(folder).rglob("*")), key=str)
    found = {path.name: path for path in files if path.suffix in {".ttf", ".otf"} and draws_text(path)}
    train = tuple(path for name, path in found.items() if name not in HELD_OUT)
    missing = [name for name in HELD_OUT if name not in found]
    if missing or not train:
        what = ", ".join(missing) or "font to train on"
        raise MissingSourceError(f"no {what} in {', '.join(map(str, folders))}; {install_hint()}")
    ordinary = tuple(path for path in train if path.name.lower().startswith(ORDINARY))
    return Fonts(train=Faces(train, ordinary), held_out=Faces(tuple(found[name] for name in HELD_OUT)))


def find_words(folder: Path = WORD_FOLDER) -> Words:
    """The English and French word lists in `folder`."""
    return Words(english=read_words(folder, ENGLISH_LISTS), french=read_words(folder, FRENCH_LISTS))


def read_words(folder: Path, names: Sequence[str]) -> tuple[str, ...]:
    """The usable words of the lists `names` in `folder`, in the lists' order.

    Raises:
        MissingSourceError: a list is missing
    """
    words: list[str] = []
    for name in names:
        path = folder / name
        if not path.is_file():
            raise MissingSourceError(f"no word list {path}; {install_hint()}")
        lines = path.read_text(encoding="utf-8").splitlines()
        words += [word for word in map(str.strip, lines) if is_usable(word)]
    return tuple(words)


def is_usable(word: str) -> bool:
    """Whether a word is short enough and the model can spell it."""
    return 1 <= len(word) <= LONGEST_WORD and all(letter in VOCAB for letter in word)
