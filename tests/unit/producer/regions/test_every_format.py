"""The acceptance tests of every format: the same regions at every call, and copies that only gain texts."""

from collections.abc import Callable
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

import pytest

from contract.errors import SourceError
from contract.region import MAX_POINTS, Level, Region
from producer.regions import FORMATS
from producer.regions.base import OtherFormatError, RegionFormat, RegionOptions, RegionText, Texts

SAMPLES = Path(__file__).parent / "samples"

READ = RegionText('"Ärger" & <Söhne>', 0.875)


@dataclass(frozen=True)
class Sample:
    """One file of a format.

    Args:
        names: of its regions, by level; None is the level of a format that has none
        outline: a piece of the file that is one region's outline
        outlined: returns that piece for an outline of so many points; None if it cannot have more
        writes: whether the format has a place for texts
        exact: whether what is not written stays byte for byte
        repeats: how often a copy has a region's text, by level
        without_place: names of regions that have no place for a text of their own
    """

    file: str
    image: str | None
    names: dict[Level | None, list[str]]
    outline: bytes
    outlined: Callable[[int], bytes] | None
    writes: bool = True
    exact: bool = True
    repeats: dict[Level | None, int] = field(default_factory=dict)
    without_place: tuple[str, ...] = ()

    @property
    def data(self) -> bytes:
        return (SAMPLES / self.file).read_bytes()


def _points(count: int) -> bytes:
    return " ".join(f"{place},{place * place % 97}" for place in range(count)).encode()


def _pairs(count: int) -> bytes:
    return b", ".join(b"[%d, %d]" % (place, place * place % 97) for place in range(count))


CORNERS = ((b"30.25", b"130.0"), (b"230.0", b"130.0"), (b"230.0", b"174.0"))
"""Of a polygon, as LabelMe writes it."""

SAMPLE_OF = {
    "coco": Sample(
        "coco.json",
        "0001.png",
        {None: ["12", "13", "15"]},
        b"22, 70, 300, 72, 580, 70, 578, 110, 24, 112",
        lambda count: _points(count).replace(b" ", b","),
        repeats={None: 2},
    ),
    "labelme": Sample(
        "labelme.json",
        "0001.png",
        {None: ["1", "2", "3"]},
        b",\n".join(b"        [\n          %s,\n          %s\n        ]" % corner for corner in CORNERS),
        _pairs,
    ),
    "cvat": Sample(
        "cvat.xml",
        "0001.png",
        {None: ["1", "2", "3"]},
        b"22,70;300,72;580,70;578,110;24,112",
        lambda count: _points(count).replace(b" ", b";"),
    ),
    "doctr": Sample(
        "doctr.json",
        "0001.png",
        {None: ["1", "2"]},
        b"[22, 70], [580, 72], [578, 110], [24, 112]",
        _pairs,
        writes=False,
    ),
    "funsd": Sample(
        "funsd.json",
        "",
        {"word": ["0.1", "0.2", "1.1"], "region": ["0", "1"]},
        b"",
        None,
        repeats={"word": 2},
    ),
    "template": Sample("template.json", None, {None: ["serial_number", "reading"]}, b"", None, writes=False),
    "page": Sample(
        "page.xml",
        "0001.png",
        {"line": ["l1", "l2", "l3"], "word": ["w1", "w2"], "region": ["r1", "r2"]},
        b"22,70 300,72 580,70 578,110 24,112",
        _points,
    ),
    "alto": Sample(
        "alto.xml",
        "0001.png",
        {"line": ["l1", "l2"], "word": ["s1", "s2", "3"], "region": ["b1", "b2"]},
        b"22,70 300,72 580,70 578,110 24,112",
        _points,
        without_place=("b1",),
    ),
    "hocr": Sample(
        "page.hocr",
        "0001.png",
        {
            "word": ["word_1_1", "word_1_2", "word_1_3"],
            "line": ["line_1_1", "line_1_2"],
            "region": ["block_1_1", "block_1_2"],
        },
        b"",
        None,
        without_place=("block_1_1",),
    ),
}


@pytest.fixture(params=FORMATS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def known(name: str) -> RegionFormat:
    return FORMATS[name]


@pytest.fixture
def sample(name: str) -> Sample:
    return SAMPLE_OF[name]


def regions_of(known: RegionFormat, data: bytes, level: Level | None = None) -> dict[str, Region]:
    """Return the regions of a file's pages by their names."""
    pages = known.pages(BytesIO(data), RegionOptions(level))
    return {str(region.name): region for page in pages for region in page.regions}


def written(known: RegionFormat, data: bytes, texts: Texts, level: Level | None = None) -> bytes:
    target = BytesIO()
    known.write(BytesIO(data), RegionOptions(level), texts, target)
    return target.getvalue()


def test_it_has_extensions_and_its_usual_level_first(known: RegionFormat, sample: Sample) -> None:
    assert Path(sample.file).suffix in known.extensions
    assert list(known.levels) == [level for level in sample.names if level]


def test_it_gives_the_image_and_the_regions_of_each_level_at_every_call(
    known: RegionFormat, sample: Sample
) -> None:
    for level, names in sample.names.items():
        first, second = (regions_of(known, sample.data, level) for _ in range(2))

        assert list(first) == names
        assert first == second
        assert not [region.fault for region in first.values() if region.fault]
    page = next(known.pages(BytesIO(sample.data), RegionOptions()))
    assert page.image == sample.image


def test_without_a_level_the_usual_one_is_read(known: RegionFormat, sample: Sample) -> None:
    assert list(regions_of(known, sample.data)) == next(iter(sample.names.values()))


@pytest.mark.parametrize("count", [2, MAX_POINTS + 1, 10_000])
def test_an_outline_that_cannot_be_read_costs_its_own_region_only(
    known: RegionFormat, sample: Sample, count: int
) -> None:
    if sample.outlined is None:
        pytest.skip("its regions are boxes")
    damaged = sample.data.replace(sample.outline, sample.outlined(count), 1)

    regions = regions_of(known, damaged)

    assert list(regions) == next(iter(sample.names.values()))
    assert len([region.fault for region in regions.values() if region.fault]) == 1


def test_a_file_that_is_cut_off_is_an_error(known: RegionFormat, sample: Sample) -> None:
    for share in (0.3, 0.6, 0.97):
        with pytest.raises(SourceError):
            regions_of(known, sample.data[: int(len(sample.data) * share)])


@pytest.mark.parametrize("data", [b"", b"\x00\x01\x02", b"\xff\xd8\xff\xe0 a JPEG"])
def test_what_is_no_file_of_any_format_is_an_error(known: RegionFormat, data: bytes) -> None:
    with pytest.raises(SourceError):
        regions_of(known, data)


def test_an_intact_file_of_another_format_is_told_from_a_damaged_one(
    known: RegionFormat, sample: Sample
) -> None:
    for data in (b"<other><a/></other>", b'{"other": 1}'):
        if data[:1] == sample.data.lstrip()[:1]:
            with pytest.raises(OtherFormatError):
                regions_of(known, data)


def test_without_texts_a_copy_equals_its_file(known: RegionFormat, sample: Sample) -> None:
    if not sample.writes or not sample.exact:
        pytest.skip("the format's files are written as a whole")
    for level in sample.names:
        assert written(known, sample.data, lambda image, page, name: None, level) == sample.data


def test_a_copy_has_the_texts_of_all_regions_and_the_same_regions(
    known: RegionFormat, sample: Sample
) -> None:
    if not sample.writes:
        pytest.skip("the format has no place for texts")
    for level, names in sample.names.items():
        asked: list[tuple[str | None, str]] = []

        def texts(
            image: str | None, page: int | None, name: str, asked: list[tuple[str | None, str]] = asked
        ) -> RegionText:
            asked.append((image, name))
            return READ

        copy = written(known, sample.data, texts, level)

        names = [name for name in names if name not in sample.without_place]
        assert asked == [(sample.image, name) for name in names]
        assert regions_of(known, copy, level) == regions_of(known, sample.data, level)
        assert copy.count("Ärger".encode()) + copy.count(b"\\u00c4rger") == len(names) * sample.repeats.get(
            level, 1
        )


def test_writing_a_copy_again_changes_nothing(known: RegionFormat, sample: Sample) -> None:
    if not sample.writes:
        pytest.skip("the format has no place for texts")
    once = written(known, sample.data, lambda image, page, name: READ)

    assert written(known, once, lambda image, page, name: READ) == once


def test_a_region_without_a_text_stays_as_it_is(known: RegionFormat, sample: Sample) -> None:
    if not sample.writes:
        pytest.skip("the format has no place for texts")
    level, (first, *_) = next(iter(sample.names.items()))

    copy = written(known, sample.data, lambda image, page, name: READ if name == first else None)

    assert copy.count("Ärger".encode()) + copy.count(b"\\u00c4rger") == sample.repeats.get(level, 1)
