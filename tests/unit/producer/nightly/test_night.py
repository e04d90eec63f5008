"""What a night reads, and what it leaves."""

import json
import os
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from contract.errors import ErrorCode, JobError, SourceError, UsageError
from contract.source import Selection, Source
from contract.storage import Storage
from producer.nightly.continuing import Choices, check_continues, unfinished
from producer.nightly.files import Nights
from tests.unit.conftest import MockBucket
from tests.unit.producer.nightly.conftest import BROKEN, System


def write(scans: Path, **contents: str) -> None:
    for name, content in contents.items():
        (scans / f"{name}.png").write_text(content)


def test_a_night_reads_what_is_new_or_changed_and_nothing_else(system: System, scans: Path) -> None:
    write(scans, a="1", b="1", c="1")
    system.night("2026-11-20")
    write(scans, b="2", d="1")
    (scans / "a.png").unlink()

    counts = system.night("2026-11-21")

    assert (counts.listed, counts.new, counts.changed, counts.unchanged, counts.gone) == (3, 1, 1, 1, 1)
    assert set(system.read.values()) == {1}
    assert [line["id"] for line in system._lines(system.nights.workspace("2026-11-21").results)] == [
        "b.png",
        "d.png",
    ]
    assert system.latest() == {"a.png": "1", "b.png": "2", "c.png": "1", "d.png": "1"}


def test_a_night_without_anything_new_is_empty_and_complete(system: System, scans: Path) -> None:
    write(scans, a="1")
    system.night("2026-11-20")

    counts = system.night("2026-11-21")

    workspace = system.nights.workspace("2026-11-21")
    summary = workspace.load_summary()
    assert counts.to_read == 0
    assert workspace.is_complete("nights-1")
    assert summary is not None
    assert summary["request_counts"] == {"total": 0, "completed": 0, "failed": 0}
    assert system.latest() == {"a.png": "1"}
    assert system.last().night == "2026-11-21"


def test_a_first_night_may_be_empty(system: System) -> None:
    assert system.night("2026-11-20").listed == 0
    assert system.latest() == {}


@pytest.mark.parametrize("changed", ["mtime+size", "sha256"])
def test_a_file_written_again_is_changed_by_its_time_but_not_by_its_bytes(
    changed: str, system: System, scans: Path
) -> None:
    system = replace(system, source=system.source.model_copy(update={"changed": changed}))
    write(scans, a="1")
    system.night("2026-11-20")
    os.utime(scans / "a.png", (1, 1))

    assert system.night("2026-11-21").changed == (changed == "mtime+size")


def test_an_item_that_fails_comes_again_a_number_of_nights_and_then_stays_listed(
    system: System, scans: Path
) -> None:
    write(scans, a="1", b=BROKEN.decode())

    counts = [system.night(f"2026-11-2{night}") for night in range(5)]

    assert [one.again for one in counts] == [0, 1, 1, 0, 0]
    assert [one.given_up for one in counts] == [0, 0, 0, 1, 1]
    assert system.read["b.png", "broken"] == 3
    assert (system.latest(), system.failed()) == ({"a.png": "1"}, ["b.png"])
    write(scans, b="2")
    assert system.night("2026-11-25").changed == 1
    assert (system.latest(), system.failed()) == ({"a.png": "1", "b.png": "2"}, [])


def test_items_that_a_deadline_has_cut_off_come_again_as_often_as_it_takes(
    system: System, scans: Path
) -> None:
    system.choices = Choices(attempts=1)
    write(scans, a="1", b=BROKEN.decode())
    system.error = ErrorCode.DEADLINE

    counts = [system.night(f"2026-11-2{night}") for night in range(3)]

    assert [one.again for one in counts] == [0, 1, 1]
    assert system.failed() == ["b.png"]


def test_what_was_read_before_a_file_became_unreadable_is_not_its_newest_content(
    system: System, scans: Path
) -> None:
    write(scans, a="1")
    system.night("2026-11-20")
    write(scans, a=BROKEN.decode())

    system.night("2026-11-21")

    assert (system.latest(), system.failed()) == ({}, ["a.png"])


def test_of_a_document_only_the_failed_page_comes_again(system: System, scans: Path) -> None:
    system = replace(system, kind="detection", broken_pages={"b.pdf#page=2"})
    system.source = system.source.model_copy(update={"type": "manifest", "uri": str(scans / "list.jsonl")})
    (scans / "list.jsonl").write_text('{"uri": "b.pdf"}\n{"uri": "a.pdf"}\n')
    (scans / "a.pdf").write_text("xy")
    (scans / "b.pdf").write_text("123")
    system.night("2026-11-20")
    before = system.latest(), system.failed()
    system.broken_pages.clear()

    counts = system.night("2026-11-21")

    assert before == (
        dict.fromkeys(["a.pdf#page=1", "a.pdf#page=2"], "xy")
        | dict.fromkeys(["b.pdf#page=1", "b.pdf#page=3"], "123"),
        ["b.pdf#page=2"],
    )
    assert (counts.again, counts.to_read) == (1, 1)
    assert list(system.latest()) == [
        f"{name}.pdf#page={page}" for name, page in ("a1", "a2", "b1", "b2", "b3")
    ]
    assert system.failed() == []
    (scans / "b.pdf").write_text("9")
    system.night("2026-11-22")
    assert list(system.latest()) == ["a.pdf#page=1", "a.pdf#page=2", "b.pdf#page=1"]


# what is gone


def test_lines_of_items_that_are_gone_are_kept_and_not_read_again_when_they_are_back(
    system: System, scans: Path
) -> None:
    write(scans, a="1", b="1")
    system.night("2026-11-20")
    for path in scans.iterdir():
        path.rename(path.with_suffix(".away"))

    gone = system.night("2026-11-21")
    for path in scans.iterdir():
        path.rename(path.with_suffix(".png"))
    back = system.night("2026-11-22")

    assert (gone.gone, gone.listed) == (2, 0)
    assert (back.unchanged, back.to_read) == (2, 0)
    assert system.latest() == {"a.png": "1", "b.png": "1"}


def test_tombstones_stand_for_lines_of_items_that_are_gone(system: System, scans: Path) -> None:
    system.choices = Choices(on_delete="tombstone")
    write(scans, a="1", b="1", c="1")
    system.night("2026-11-20")
    (scans / "b.png").unlink()

    system.night("2026-11-21")

    assert system.latest() == {"a.png": "1", "b.png": "deleted", "c.png": "1"}
    write(scans, b="1")
    assert system.night("2026-11-22").new == 1
    assert system.latest() == {"a.png": "1", "b.png": "1", "c.png": "1"}


@pytest.mark.parametrize("kind", ["recognition", "detection"])
def test_the_latest_lines_are_columns_too_if_the_nights_job_has_parquet(
    kind: str, system: System, scans: Path
) -> None:
    system.choices, system.exports, system.kind = Choices(on_delete="tombstone"), ("parquet",), kind
    write(scans, a="1", b="1", c=BROKEN.decode())
    system.night("2026-11-20")
    (scans / "b.png").unlink()

    system.night("2026-11-21")

    for name in ("latest", "latest-errors"):
        lines = Path(system.nights.root, f"{name}.jsonl").read_bytes().splitlines()
        rows = pq.read_table(f"{system.nights.root}/{name}.parquet").to_pylist()
        found = [{field: one for field, one in row.items() if one is not None} for row in rows]
        assert found == [json.loads(line) for line in lines]
    system.exports = ()
    system.night("2026-11-22")
    assert not [name for name in system.nights.store.names(system.nights.root) if name.endswith(".parquet")]


def test_a_source_that_has_vanished_makes_no_tombstones_unasked(system: System, scans: Path) -> None:
    system.choices = Choices(on_delete="tombstone")
    write(scans, a="1", b="1", c="1")
    system.night("2026-11-20")
    for path in scans.iterdir():
        path.unlink()

    with pytest.raises(SourceError, match=r"3 of the 3 items.*--allow-shrink"):
        system.night("2026-11-21")

    assert system.nights.begun() == ["2026-11-20"]
    assert system.latest() == {"a.png": "1", "b.png": "1", "c.png": "1"}
    system.choices = Choices(on_delete="tombstone", may_shrink=True)
    system.night("2026-11-21")
    assert set(system.latest().values()) == {"deleted"}


# what does not continue


def test_another_source_and_other_parameters_are_refused_until_somebody_says_what_to_do(
    system: System, scans: Path
) -> None:
    write(scans, a="1")
    system.night("2026-11-20")
    last, digits = system.last(), system.job(characters="digits")
    elsewhere = system.job().model_copy(update={"source": Source(type="folder", uri="/elsewhere")})

    with pytest.raises(UsageError, match=r"are of .*scans"):
        check_continues(elsewhere, [], last, Choices(again="reread"))
    with pytest.raises(UsageError, match=r"characters has changed from None to 'digits'.*--reread.*--keep"):
        check_continues(digits, [], last, Choices())
    for again in ("reread", "keep"):
        check_continues(digits, [], last, Choices(again=again))
    check_continues(system.job(), [], last, Choices())


def test_so_are_other_globs(system: System, scans: Path) -> None:
    write(scans, a="1")
    system.night("2026-11-20")
    last = system.last()
    source = system.source.model_copy(update={"selection": Selection(exclude=("*_thumb.*",))})
    fewer = system.job().model_copy(update={"source": source})

    with pytest.raises(UsageError, match=r"exclude has changed from None to \['\*_thumb"):
        check_continues(fewer, [], last, Choices())
    check_continues(fewer, [], last, Choices(again="keep"))


def test_other_weights_of_the_same_name_are_another_model(system: System, scans: Path) -> None:
    write(scans, a="1")
    system.night("2026-11-20")
    last = system.last()
    last.models.append({"name": "badges", "weights_sha256": "old"})

    check_continues(system.job(), [("badges", "old")], last, Choices())
    with pytest.raises(UsageError, match="the weights of badges have changed"):
        check_continues(system.job(), [("badges", "new")], last, Choices())


def test_rereading_reads_everything_once_more(system: System, scans: Path) -> None:
    write(scans, a="1", b="1")
    system.night("2026-11-20")
    system.choices = Choices(again="reread")

    system.night("2026-11-21")

    assert system.read == Counter({("a.png", "1"): 2, ("b.png", "1"): 2})
    assert system.latest() == {"a.png": "1", "b.png": "1"}


@pytest.mark.parametrize("damage", ["shortened", "altered", "missing", "no record"])
def test_a_damaged_state_is_refused_and_everything_read_again_on_demand(
    damage: str, system: System, scans: Path
) -> None:
    write(scans, a="1", b="1")
    system.night("2026-11-20")
    (scans / "a.png").unlink()
    path = Path(system.nights.path(system.last().file))
    if damage == "shortened":
        path.write_bytes(path.read_bytes().splitlines(keepends=True)[0])
    elif damage == "altered":
        path.write_bytes(path.read_bytes().replace(b"b.png", b"c.png"))
    elif damage == "missing":
        path.unlink()
    else:
        Path(system.nights.path("last.json")).write_text("{")

    with pytest.raises(JobError, match="--reread"):
        system.night("2026-11-21")
    assert system.nights.begun() == ["2026-11-20"]
    system.choices = Choices(again="reread")
    system.night("2026-11-21")

    assert system.latest() == {"a.png": "1", "b.png": "1"}
    assert system.last().night == "2026-11-21"


def test_a_source_in_any_order_is_compared_by_ids(system: System, scans: Path) -> None:
    write(scans, a="1", b="1", c="1")
    listing = scans / "list.jsonl"
    system.source = Source(type="manifest", uri=str(listing), changed="sha256")
    listing.write_text("".join(f'{{"uri": "{name}.png"}}\n' for name in "cab"))
    system.night("2026-11-20")
    write(scans, a="2")
    listing.write_text("".join(f'{{"uri": "{name}.png"}}\n' for name in "bca"))

    counts = system.night("2026-11-21")

    assert (counts.changed, counts.unchanged, counts.gone) == (1, 2, 0)
    assert system.latest() == {"a.png": "2", "b.png": "1", "c.png": "1"}


def test_ids_of_pages_are_refused_where_documents_have_pages(system: System, scans: Path) -> None:
    (scans / "list.jsonl").write_text('{"uri": "a.png", "id": "a.pdf#page=2"}\n')
    system.source = Source(type="manifest", uri=str(scans / "list.jsonl"), changed="sha256")

    with pytest.raises(SourceError, match=r"'a\.pdf#page=2' is that of a page"):
        replace(system, kind="detection").night("2026-11-20")


def test_a_night_that_was_cancelled_is_left_and_the_next_one_reads_its_items(
    system: System, scans: Path
) -> None:
    write(scans, a="1")

    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        system.night("2026-11-20", stop)
    found = unfinished(system.nights, None, "2026-11-21")
    assert found is not None
    assert found.night == "2026-11-20"
    assert unfinished(system.nights, None, "2026-11-20") is None
    system.nights.workspace("2026-11-20").halt("cancelled")

    assert unfinished(system.nights, None, "2026-11-21") is None
    assert system.night("2026-11-21").new == 1


# S3


def test_etags_of_a_prefix_cost_nothing_but_the_listing(
    system: System, s3_bucket: MockBucket, storage: Storage
) -> None:
    requests: Counter[str] = Counter()
    s3_bucket.client.meta.events.register(
        "before-call.s3", lambda model, **_: requests.update([model.name]), unique_id="counted"
    )
    system = System(
        Source(type="prefix", uri=s3_bucket.uri("scans/"), changed="etag"),
        Nights(s3_bucket.uri("nights"), storage.at(s3_bucket.uri(""))),
        storage,
    )
    for name in "abc":
        s3_bucket.put(f"scans/{name}.png", b"1")
    system.night("2026-11-20")
    s3_bucket.put("scans/b.png", b"2")
    s3_bucket.put("scans/c.png", b"1")
    requests.clear()

    found = list(system.items())
    assert requests == {"ListObjectsV2": 1}
    counts = system.night("2026-11-21")
    s3_bucket.client.meta.events.unregister("before-call.s3", unique_id="counted")

    assert next(item.fingerprint for item in found) == "c4ca4238a0b923820dcc509a6f75849b+1"
    assert (counts.changed, counts.unchanged) == (1, 2)
    assert system.latest() == {"a.png": "1", "b.png": "2", "c.png": "1"}
