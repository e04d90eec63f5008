"""Nights over a source that grows, changes and shrinks, each killed: nothing is lost, nothing read twice."""

import json
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.scene import Record, Row
from tests.integration.processes import Bucket, Run, Start

pytestmark = pytest.mark.usefixtures("demo_model")

NIGHTS = [f"2026-11-2{night}" for night in range(5)]


@dataclass
class DiskPlace:
    """A source and its nights in folders."""

    folder: Path

    @property
    def source(self) -> str:
        return str(self.folder / "scans")

    @property
    def nights(self) -> str:
        return str(self.folder / "nights")

    def put(self, name: str, data: bytes) -> None:
        path = self.folder / "scans" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)

    def remove(self, name: str) -> None:
        (self.folder / "scans" / name).unlink()

    def lines(self, name: str) -> list[Any]:
        return [json.loads(line) for line in (self.folder / "nights" / name).read_text().splitlines()]


@dataclass
class BucketPlace:
    """A source and its nights in a bucket."""

    bucket: Bucket

    @property
    def source(self) -> str:
        return f"s3://{self.bucket.name}/scans/"

    @property
    def nights(self) -> str:
        return f"s3://{self.bucket.name}/nights"

    def put(self, name: str, data: bytes) -> None:
        self.bucket.client.put_object(Bucket=self.bucket.name, Key=f"scans/{name}", Body=data)

    def remove(self, name: str) -> None:
        self.bucket.client.delete_object(Bucket=self.bucket.name, Key=f"scans/{name}")

    def lines(self, name: str) -> list[Any]:
        return [json.loads(line) for line in self.bucket.read(f"nights/{name}").splitlines()]


@dataclass
class Scans:
    """The source's files, each with the sample crop that it holds now."""

    place: Any
    crops: list[Path]
    choice: random.Random
    now: dict[str, Path] = field(default_factory=dict)

    def change(self, items: int) -> set[str]:
        """Add so many files, change and remove some; return the names of what is new or changed."""
        kept = sorted(self.now)
        for name in self.choice.sample(kept, len(kept) // 4):
            del self.now[name]
            self.place.remove(name)
        fresh = {f"{self.choice.randrange(10**6):06d}.png" for _ in range(items)} - set(kept)
        changed = set(self.choice.sample(sorted(self.now), len(self.now) // 4))
        for name in fresh | changed:
            others = [crop for crop in self.crops if crop != self.now.get(name)]
            self.now[name] = self.choice.choice(others)
            self.place.put(name, self.now[name].read_bytes())
        return fresh | changed


def read_nights(
    fault: str, place: Any, nights: dict[str, bool], samples: Path, start: Start, trace_ocr: Run
) -> Row:
    """Read nights; those that say so are killed after their first chunk. Check what each leaves.

    Returns the nights' row of the table: a chunk that had begun when its process was killed is read again.
    """
    reruns, expected, got = 0, list[str](), list[str]()
    scans, texts = Scans(place, sorted((samples / "crops").glob("*.png")), random.Random(18)), {}
    for number, (night, killed) in enumerate(nights.items()):
        fresh = scans.change(24 if number == 0 else 12)
        command = ("nightly", place.source, "-o", place.nights, "--date", night, "--chunk-size", "4")
        command = (*command, "--on-delete", "tombstone", "--json")
        if killed:
            running = start(*command, TRACE_OCR_LOG_LEVEL="info")
            running.wait_for("chunk_done")
            running.popen.kill()
            running.popen.wait()
            log = "".join(running.lines)
            reruns += log.count('"chunk_started"') - log.count('"chunk_done"')

        ended = trace_ocr(*command)

        assert ended.returncode == 0, ended.stderr
        read = place.lines(f"{night}/results.jsonl")
        assert [line["id"] for line in read] == sorted(fresh), "each new or changed item is read once"
        texts |= {scans.now[line["id"]]: line["value"] for line in read}
        latest = [line for line in place.lines("latest.jsonl") if "deleted" not in line]
        assert {line["id"]: line["value"] for line in latest} == {
            name: texts[crop] for name, crop in scans.now.items()
        }
        assert len(latest) == len(scans.now)
        expected += sorted(fresh)
        got += [line["id"] for line in read]
    again = trace_ocr(*command)
    assert json.loads(again.stdout) == json.loads(ended.stdout), "the same date is the same night"
    lost = sum((Counter(expected) - Counter(got)).values())
    duplicated = sum((Counter(got) - Counter(expected)).values())
    return Row(fault, sum(nights.values()), reruns, len(expected), len(got), lost, duplicated)


@pytest.fixture
def make_place(tmp_path: Path, bucket: Bucket) -> Callable[[str], Any]:
    return lambda where: DiskPlace(tmp_path) if where == "disk" else BucketPlace(bucket)


def test_a_killed_night_is_continued_and_the_next_one_reads_what_has_changed(
    tmp_path: Path, samples: Path, start: Start, trace_ocr: Run, record: Record
) -> None:
    nights = {NIGHTS[0]: True, NIGHTS[1]: False}
    record(read_nights("nightly killed", DiskPlace(tmp_path), nights, samples, start, trace_ocr))


@pytest.mark.full
@pytest.mark.parametrize("where", ["disk", "s3"])
def test_five_nights_with_a_kill_in_each(
    where: str,
    make_place: Callable[[str], Any],
    samples: Path,
    start: Start,
    trace_ocr: Run,
    record: Record,
) -> None:
    fault, nights = f"nightly killed in each of five nights, {where}", dict.fromkeys(NIGHTS, True)
    record(read_nights(fault, make_place(where), nights, samples, start, trace_ocr))
