"""Truth: every form that is read, how it is matched, and every file that cannot be used."""

import json
from pathlib import Path

import pytest

from contract.errors import OutsideAllowedRootsError, TruthError
from contract.records import MAX_TEXT
from contract.settings import Settings
from contract.storage import Storage
from contract.storage.roots import AllowedRoots
from producer.results.evaluation import truth as truth_module
from producer.results.evaluation.truth import Truth, TruthEntry, check_by, folder_of, load_truth
from tests.unit.conftest import MockBucket

FILES = {
    "labels.json": '{"a/1.png": "one", "2.png": "zwei\\u0308"}',
    "rec_gt.txt": "a/1.png\tone\r\n\n2.png\tzweï\r\n",
    "gt.tsv": "a/1.png\tone\n2.png\tzweï",
    "truth.csv": 'path,label\na/1.png,one\n2.png,"zweï"\n3.png,\n',
    "named.CSV": "text,name\none,a/1.png\nzweï,2.png\n",
    "truth.jsonl": '{"id": "a/1.png", "label": "one"}\n\n{"uri": "2.png", "text": "zweï"}\n{"id": "3.png"}\n',
}


@pytest.fixture
def storage() -> Storage:
    return Storage(Settings())


def load(folder: Path, name: str, data: str | bytes, by: str | None = None) -> Truth:
    path = folder / name
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return load_truth(str(path), by, Storage(Settings()))


@pytest.mark.parametrize("name", FILES)
def test_every_form_gives_the_same_texts_in_nfc(name: str, tmp_path: Path) -> None:
    truth = load(tmp_path, name, FILES[name])

    assert truth.counts.entries == 2
    assert [truth.find(key, "") for key in ("a/1.png", "2.png", "3.png")] == [
        TruthEntry("one"),
        TruthEntry("zweï"),
        None,
    ]


@pytest.mark.parametrize("name", ["labels.json", "truth.csv", "truth.jsonl", "gt.tsv"])
def test_a_byte_order_mark_is_no_part_of_the_first_key(name: str, tmp_path: Path) -> None:
    truth = load(tmp_path, name, b"\xef\xbb\xbf" + FILES[name].encode())

    assert truth.find("a/1.png", "") == TruthEntry("one")


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("truth.csv", "id,label,place\n1,one,Bern\n2,two,\n"),
        ("truth.jsonl", '{"id": "1", "label": "one", "place": "Bern"}\n{"id": "2", "label": "two"}'),
    ],
)
def test_a_column_is_kept_to_report_by(name: str, data: str, tmp_path: Path) -> None:
    truth = load(tmp_path, name, data, by="place")

    assert truth.find("1", "") == TruthEntry("one", "Bern")
    assert truth.find("2", "") == TruthEntry("two", None)


def test_items_are_matched_by_id_first_and_then_by_a_name_that_only_one_has() -> None:
    # given entries for an id, for a unique name, and for names that could mean two items or two entries
    texts = {"x/1.png": "by id", "deep/2.png": "by name", "3.png": "?", "a/4.png": "?", "b/4.png": "?"}
    truth = Truth("truth.json", [_line(key, text) for key, text in texts.items()])

    # when
    items = ["x/1.png", "y/1.png", "2.png", "p/3.png", "q/3.png", "4.png", "none.png"]
    named = [(identity, identity.rpartition("/")[2]) for identity in items]
    counts = truth.fit(named)

    # then
    found = {identity: truth.find(identity, name) for identity, name in named}
    assert {identity: entry.text for identity, entry in found.items() if entry} == {
        "x/1.png": "by id",
        "2.png": "by name",
    }
    assert (counts.by_id, counts.by_name, counts.ambiguous, counts.unused) == (1, 1, 4, 3)


def test_a_path_of_another_system_ends_in_a_name_too() -> None:
    truth = Truth("gt.txt", [_line("C:\\crops\\1.png", "one")])

    truth.fit([("1.png", "1.png")])

    assert truth.find("1.png", "1.png") == TruthEntry("one")


def test_texts_longer_than_a_label_may_be_are_counted_and_left_out(tmp_path: Path) -> None:
    truth = load(tmp_path, "labels.json", json.dumps({"1.png": "x" * 10_000, "2.png": "x" * MAX_TEXT}))

    assert (truth.counts.entries, truth.counts.too_long) == (1, 1)


def test_right_to_left_and_combining_texts_are_texts(tmp_path: Path) -> None:
    truth = load(tmp_path, "gt.txt", "1\tשלם \u202eabc\n2\te\u0301\n")

    assert truth.find("1", "") == TruthEntry("שלם \u202eabc")
    assert truth.find("2", "") == TruthEntry("é")


def test_the_same_text_twice_is_counted(tmp_path: Path) -> None:
    truth = load(tmp_path, "labels.json", '{"1.png": "e\\u0301", "1.png": "\\u00e9"}')

    assert (truth.counts.entries, truth.counts.repeated) == (1, 1)


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("labels.json", '{"1.png": "one", "1.png": "two"}', "'1.png' is 'two' here and 'one' before"),
        ("gt.txt", "1.png\tone\n1.png\ttwo\n", "line 2: '1.png' is 'two' here and 'one' before"),
        ("gt.txt", "1.png\tone\n2.png\tMüller\n".encode("cp1252"), "line 2 is not UTF-8 (byte 0xFC)"),
        ("gt.txt", "1.png\tone\n".encode("utf-16"), "is UTF-16: save it as UTF-8"),
        ("gt.txt", "1.png\tone\n".encode("utf-16-le"), "has zero bytes"),
        ("gt.txt", "1.png one\n", "line 1 has another form"),
        ("Label.txt", '1.png\t[{"transcription": "one", "points": []}]\n', "line 1 has another form"),
        ("labels.json", '{"1.png": {"polygons": []}}', "'1.png' is no text"),
        ("labels.json", '["1.png"]', "has another form"),
        ("labels.json", '{"1.png": "one"', "is not JSON"),
        ("labels.json", '{"id": "1", "label": "one"}\n{"id": "2", "label": "two"}', "name it .jsonl"),
        ("labels.json", "[" * 200_000, "is not JSON"),
        ("labels.json", '{"1.png": "\\ud800"}', "half of a surrogate pair"),
        ("truth.jsonl", '{"id": "1", "label": "one"}\nno JSON', "line 2"),
        ("truth.jsonl", '{"id": "1", "label": 1}', "line 1 has another form"),
        ("truth.jsonl", '{"label": "one"}', "line 1 has another form"),
        ("truth.csv", "id;label\n1;one\n", "no column is named id or uri or path"),
        ("truth.csv", "id,words\n1,one\n", "no column is named label or text or truth; it has: id, words"),
        ("truth.csv", 'id,label\n1,"one\n', "line 2"),
        ("truth.csv", "id,label\n1,\n", "has no texts"),
        ("labels.json", "{}", "has no texts"),
        ("gt.txt", "", "has no texts"),
    ],
)
def test_a_file_that_cannot_be_used_is_explained(
    name: str, data: str | bytes, said: str, tmp_path: Path
) -> None:
    with pytest.raises(TruthError) as refused:
        load(tmp_path, name, data)

    assert said in str(refused.value)
    assert name in str(refused.value)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("labels.json", '{"1.png": "one"}'),
        ("gt.txt", "1.png\tone\n"),
        ("truth.csv", "id,label\n1,one\n"),
        ("truth.jsonl", '{"id": "1", "label": "one"}\n'),
    ],
)
def test_a_column_that_is_not_there_is_refused(name: str, data: str, tmp_path: Path) -> None:
    with pytest.raises(TruthError, match="place"):
        load(tmp_path, name, data, by="place")


def test_a_column_of_no_file_is_refused() -> None:
    with pytest.raises(TruthError, match="by 'place' is a column of the truth, but no truth is given"):
        check_by("place", None)
    check_by("folder", None)
    check_by("place", "truth.csv")


def test_a_large_file_is_refused_before_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(truth_module, "MAX_TRUTH_BYTES", 10)

    with pytest.raises(TruthError, match="is larger than"):
        load(tmp_path, "labels.json", FILES["labels.json"])


def test_a_missing_file_is_refused(tmp_path: Path, storage: Storage) -> None:
    with pytest.raises(TruthError, match="cannot be read"):
        load_truth(str(tmp_path / "none.json"), None, storage)


def test_a_file_on_s3_is_read(s3_bucket: MockBucket, storage: Storage) -> None:
    for name, data in FILES.items():
        uri = s3_bucket.put(f"truth/{name}", data.encode())

        assert load_truth(uri, None, storage).find("2.png", "") == TruthEntry("zweï")
    with pytest.raises(TruthError, match="cannot be read"):
        load_truth(s3_bucket.uri("truth/none.json"), None, storage)


def test_a_file_outside_the_roots_is_not_opened(tmp_path: Path, storage: Storage) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "labels.json").symlink_to("/etc/passwd")

    with pytest.raises(OutsideAllowedRootsError):
        load_truth(str(tmp_path / "in" / "labels.json"), None, storage, AllowedRoots((str(tmp_path / "in"),)))


@pytest.mark.parametrize(("identity", "folder"), [("a/b/1.png", "a/b"), ("1.png", "."), ("/1.png", ".")])
def test_an_id_has_a_folder(identity: str, folder: str) -> None:
    assert folder_of(identity) == folder


def _line(key: str, text: str) -> "truth_module.TruthLine":
    return truth_module.TruthLine(key, text, None, "")
