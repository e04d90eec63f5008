"""Fonts and word lists: where the synthetic images take their glyphs and their words from."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from doctr.datasets import VOCABS

from tools.training.errors import MissingSourceError
from tools.training.faces import Faces

VOCAB = VOCABS["french"]  # the vocabulary of the bundled recognition model: docTR's own default

# Debian packages and their licences, as their copyright files name them. Which fonts are held out depends
# on the sorted list of all of them, so the figures in docs/models.md hold for exactly these packages.
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

HELD_OUT_EVERY = 12  # fonts: one in twelve is never trained on and draws the hard validation set
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
# What an office document is likely set in: the faces of the curriculum's first images.
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
    """The Debian command that installs every source."""
    return "apt-get install " + " ".join([*FONT_PACKAGES, *WORD_PACKAGES])


def draws_text(path: Path) -> bool:
    """Whether a font file is meant for Latin text, judged by its name."""
    name = path.name.lower()
    if any(part in name for part in NOT_TEXT):
        return False
    return not name.startswith("noto") or name.startswith(NOTO_LATIN)


def find_fonts(folders: Iterable[Path] = FONT_FOLDERS) -> Fonts:
    """Every Latin text font under `folders`, split by position in the sorted list of paths.

    Raises:
        MissingSourceError: no font is there, or too few to hold one out
    """
    files = (path for folder in folders for path in Path(folder).rglob("*"))
    found = sorted({path for path in files if path.suffix in {".ttf", ".otf"} and draws_text(path)}, key=str)
    held_out = tuple(found[::HELD_OUT_EVERY])
    train = tuple(path for path in found if path not in set(held_out))
    if not train:
        places = ", ".join(map(str, folders))
        raise MissingSourceError(f"no text fonts in {places}; install them: {install_hint()}")
    ordinary = tuple(path for path in train if path.name.lower().startswith(ORDINARY))
    return Fonts(train=Faces(train, ordinary), held_out=Faces(held_out))


def find_words(folder: Path = WORD_FOLDER) -> Words:
    """The English and French word lists in `folder`."""
    return Words(english=read_words(folder, ENGLISH_LISTS), french=read_words(folder, FRENCH_LISTS))


def read_words(folder: Path, names: Sequence[str]) -> tuple[str, ...]:
    """The usable words of the lists `names` in `folder`, in the lists' order.

    Raises:
        MissingSourceError: a list is not there
    """
    words: list[str] = []
    for name in names:
        path = folder / name
        if not path.is_file():
            raise MissingSourceError(f"no word list {path}; install it: {install_hint()}")
        lines = path.read_text(encoding="utf-8").splitlines()
        words += [word for word in map(str.strip, lines) if is_usable(word)]
    return tuple(words)


def is_usable(word: str) -> bool:
    """Whether a word is short enough and the model can spell it."""
    return 1 <= len(word) <= LONGEST_WORD and all(letter in VOCAB for letter in word)
