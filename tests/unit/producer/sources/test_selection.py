"""Which items of a source are read: globs over their names, and the first so many."""

from collections import Counter
from io import BytesIO
from pathlib import Path

import pytest

from contract.errors import UsageError
from contract.records import Item, Member
from contract.source import Selection
from contract.storage import Storage
from producer.sources import fingerprints
from producer.sources.globs import compiled, folders_of
from producer.sources.listing import identify_source, list_source
from producer.sources.selection import matching, selection_of
from tests.unit.conftest import MockBucket

NAMES = ("a.png", "b.jpg", "2026/01/c.png", "2026/01/d.jpg", "2026/e.png", "2026/.f.png", "ä b/[g].png")


@pytest.mark.parametrize(
    ("glob", "chosen"),
    [
        ("*.png", ["a.png", "2026/01/c.png", "2026/e.png", "2026/.f.png", "ä b/[g].png"]),
        ("/*.png", ["a.png"]),
        ("./*.png", ["a.png"]),
        ("2026/*.png", ["2026/e.png", "2026/.f.png"]),
        ("2026/**/*.png", ["2026/01/c.png", "2026/e.png", "2026/.f.png"]),
        ("**/01/*", ["2026/01/c.png", "2026/01/d.jpg"]),
        ("2026/**", ["2026/01/c.png", "2026/01/d.jpg", "2026/e.png", "2026/.f.png"]),
        ("[ab].{png,jpg}", ["a.png", "b.jpg"]),
        ("[!a-b].*", ["2026/01/c.png", "2026/01/d.jpg", "2026/e.png"]),
        ("?.{png,{tif,jp}g}", ["a.png", "b.jpg", "2026/01/c.png", "2026/01/d.jpg", "2026/e.png"]),
        (r"ä*/\[g\].png", ["ä b/[g].png"]),
        ("2026", []),
        ("A.png", []),
        ("a.png|b.jpg", []),
        ("(a|b).*", []),
    ],
)
def test_a_glob_chooses_names(glob: str, chosen: list[str]) -> None:
    assert list(filter(compiled([glob]), NAMES)) == chosen


@pytest.mark.parametrize(
    ("globs", "folders"),
    [
        (["2026/*.png"], ["2026/"]),
        (["/2026/01/c.png"], ["2026/01/"]),
        (["./2026/**/c.png"], ["2026/"]),
        (["{2025,2026}/0?/*"], ["2025/", "2026/"]),
        (["b/*", "a/x/*", "b/c/*", "a/*"], ["a/", "b/"]),
        (["b/*", "b-2/*"], ["b-2/", "b/"]),
        (["2026/*", "*.png"], [""]),
        (["2026*/1/*"], [""]),
        (["[2]026/*"], [""]),
        ([r"2026/\[g\]/x/*"], ["2026/"]),
        (["a//b/*", "a/../b/*"], ["a/"]),
        (["/*.png"], [""]),
        (["all/{000..200}/*"], ["all/"]),
    ],
)
def test_only_folders_that_can_hold_a_match_are_listed(globs: list[str], folders: list[str]) -> None:
    assert folders_of(globs) == tuple(folders)


@pytest.mark.parametrize("place", ["folder", "prefix"])
@pytest.mark.parametrize(
    "globs",
    [["2026/*.png"], ["{b,b-2,2026/01}/**", "/a.png"], ["b-2/*", "b/*"], ["ws/**"], ["b/.h/*"], ["none/*"]],
)
def test_a_part_that_is_listed_holds_what_the_whole_does(
    place: str, globs: list[str], tmp_path: Path, s3_bucket: MockBucket, storage: Storage
) -> None:
    # given folders with names that sort apart, a workspace and hidden files
    names = ("a.png", "2026/01/c.png", "2026/e.png", "b-2/1.png", "b/1.png", "b/.h/2.png", "ws/parts/1.png")
    for name in (*names, "ws/job.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"{}")
        s3_bucket.put(name, b"{}")
    source = identify_source(str(tmp_path) if place == "folder" else "s3://bucket/")
    matches = compiled(globs)

    selected = source.model_copy(update={"selection": Selection(include=tuple(globs))})

    whole = [item.id for item in list_source(source, storage, BytesIO()) if matches(item.id)]
    assert [item.id for item in list_source(selected, storage, BytesIO())] == whole


def test_what_no_glob_can_match_is_not_listed(s3_bucket: MockBucket, storage: Storage) -> None:
    for name in ("2025/1.png", "2026/1.png", "2026-2/1.png"):
        s3_bucket.put(f"scans/{name}")
    source = identify_source("s3://bucket/scans")
    selected = source.model_copy(update={"selection": Selection(include=("2026/*",))})
    listing = list_source(selected, storage, BytesIO())

    assert [item.id for item in listing] == ["2026/1.png"]
    assert listing.passed_over == {}


@pytest.mark.parametrize("glob", ["[b-a]", "{1..5000}", "{a,b}" * 20])
def test_a_glob_that_means_nothing_or_too_much_is_refused(glob: str) -> None:
    with pytest.raises(UsageError, match="glob"):
        selection_of([glob], [], None)


def test_more_globs_than_may_be_are_refused() -> None:
    with pytest.raises(UsageError, match="include"):
        selection_of(["*"] * 33, [], None)


def test_a_hostile_glob_takes_linear_time() -> None:
    # With backtracking this would not end within years.
    assert not compiled(["**/x/" * 100 + "*y"])("x/" * 2_000 + "z")


def test_a_name_starts_at_the_source_and_goes_into_shards() -> None:
    items = [
        Item("1", "s3://b/in/a.tar", member=Member("tar", "x/1.png", (0, 1))),
        Item("2", "s3://b/in/y/2.png"),
        Item("3", "s3://elsewhere/3.png"),
    ]

    def chosen_by(glob: str) -> list[str]:
        selection = Selection(include=(glob,))
        return [item.id for item in matching(iter(items), selection, "s3://b/in/", Counter())]

    assert chosen_by("a.tar/x/*") == ["1"]
    assert chosen_by("y/*") == ["2"]
    assert chosen_by("s3://elsewhere/*") == ["3"]
    assert chosen_by("*.png") == ["1", "2", "3"]


def test_what_matches_both_is_excluded() -> None:
    passed_over: Counter[str] = Counter()
    items = (Item(name, f"/in/{name}") for name in NAMES)

    chosen = matching(items, Selection(include=("2026/**",), exclude=("*.jpg",)), "/in", passed_over)

    assert [item.id for item in chosen] == ["2026/01/c.png", "2026/e.png", "2026/.f.png"]
    assert passed_over == {"not_included": 3, "excluded": 1}


def test_nothing_is_listed_after_the_limit(tmp_path: Path, storage: Storage) -> None:
    manifest = tmp_path / "list.jsonl"
    manifest.write_text("".join(f'{{"uri": "{number}.png"}}\n' for number in range(20_000)) + "no JSON\n")
    source = identify_source(str(manifest))
    limited = source.model_copy(update={"selection": Selection(exclude=("1.png",), limit=2)})

    found = list(list_source(limited, storage, BytesIO()))

    assert [item.id for item in found] == ["0.png", "2.png"]


def test_what_is_left_out_is_not_opened_for_its_fingerprint(
    tmp_path: Path, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"1")
    update = {"changed": "sha256", "selection": Selection(exclude=("b.*",))}
    source = identify_source(str(tmp_path)).model_copy(update=update)
    opened: list[str] = []

    def noted(_: object, location: str) -> str:
        opened.append(location)
        return "f+1"

    monkeypatch.setattr(fingerprints, "_sha256", noted)

    assert [item.id for item in list_source(source, storage, BytesIO())] == ["a.png"]
    assert opened == [str(tmp_path / "a.png")]
