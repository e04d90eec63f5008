"""Feeders: the same crops and errors as threads make, in order, whatever happens to a feeder."""

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image

from contract.errors import ErrorCode, InterruptedChunkError, StorageBusyError
from contract.records import Item
from contract.settings import Settings
from contract.storage import Storage
from contract.storage.roots import AllowedRoots
from tests.unit.worker.feeders.conftest import MAX_PIXELS, MakePool
from worker.feeders.feeding import Feeding
from worker.feeders.groups import failure_of
from worker.feeders.pool import FeederPool
from worker.images.fetching import ItemFiles
from worker.images.files import Decoder, Decoding
from worker.kernels.pieces import CropMap, Pieces, PieceShape
from worker.kernels.preprocess import Preprocessor
from worker.kinds.crop_steps import CropSteps
from worker.kinds.crops import Crops
from worker.pipeline.run import ChunkRun

SHAPE = PieceShape(32, 128, 8, 6, 0.5)
PREPROCESSOR = Preprocessor(SHAPE)

Encode = Callable[..., bytes]


class Crop(NamedTuple):
    """What came of one item."""

    item: Item
    note: str | None
    error: tuple[ErrorCode, str] | None
    pieces: list[bytes]
    crop_map: CropMap | None


Read = Callable[..., list[Crop]]


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given that a feeder that sleeps is late as soon as one that spins."""
    monkeypatch.setattr("contract.time_limits.WAITS", 1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "crops").mkdir()
    return tmp_path / "crops"


@pytest.fixture
def read(folder: Path, pool: Executor) -> Read:
    """Read files of the folder in the pool's threads, or with feeders that fetch, or get, the files."""
    roots = AllowedRoots((str(folder),)).for_one_chunk()
    storage = Storage(Settings())

    def read(
        names: Sequence[str],
        feeders: FeederPool | None = None,
        *,
        fetch: bool = True,
        pieces: PieceShape | None = SHAPE,
        **changes: Any,
    ) -> list[Crop]:
        limits = {"max_bytes": 1 << 20, "max_document_bytes": 1 << 20}
        with ItemFiles(storage, roots, pages=False, attempt=1, **limits) as files:
            run = ChunkRun(
                fetch=files,
                decode=Decoder(None, MAX_PIXELS, Decoding(pages=False), crops_here=True),  # type: ignore[arg-type]
                attempt=1,
                pool=pool,
                window=64,
                stop=changes.pop("stop", threading.Event()),
                feeding=Feeding(feeders, roots.canonical if fetch else None) if feeders else None,
                **changes,
            )
            items = [Item(name, str(folder / name)) for name in names]
            groups = CropSteps().prepared(items, PREPROCESSOR.prepare, run, pieces)
            return [crop for crops, some in groups for crop in each(crops, some)]

    return read


def each(crops: Crops, pieces: Pieces) -> Iterator[Crop]:
    for place, (item, (start, end)) in enumerate(zip(crops.items, pieces.bounds(), strict=True)):
        error = crops.errors.get(place)
        said = error and (error.code, error.message)
        own = [piece.tobytes() for piece in pieces.samples[start:end]]
        yield Crop(item, crops.notes.get(place), said, own, pieces.maps.get(place))


def noise(height: int, width: int) -> Image.Image:
    return Image.fromarray(
        np.random.default_rng(height * width).integers(0, 256, (height, width, 3), np.uint8)
    )


@pytest.fixture
def good(folder: Path, encode: Encode) -> list[str]:
    """Crops of every kind: PNG and JPEG, wide, too large for the compiled kernel, of two frames."""
    sizes = [(20, 60), (32, 128), (31, 400), (40, 2_000), (300, 600), (9, 9), (700, 90)]
    for number, size in enumerate(sizes):
        (folder / f"{number}.png").write_bytes(encode(noise(*size)))
        (folder / f"{number}.jpg").write_bytes(encode(noise(*size), "JPEG"))
    frames = encode(noise(20, 50), "TIFF", save_all=True, append_images=[noise(20, 50)])
    (folder / "frames.tif").write_bytes(frames)
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def bad(folder: Path, encode: Encode) -> list[str]:
    """Files that are no crops, each in its own way."""
    contents = {
        "empty": b"",
        "text": b"no image",
        "truncated": encode(noise(50, 90), "JPEG")[:-400],
        "tiny": encode(noise(1, 30)),
        "sliver": encode(noise(2, 900)),
        "large": encode(Image.new("L", (4_000, 2_600))),
        "long": bytes(2 << 20),
    }
    for name, data in contents.items():
        (folder / f"bad-{name}.png").write_bytes(data)
    (folder / "bad-link.png").symlink_to("/etc/hostname")
    (folder / "bad-folder.png").mkdir()
    return sorted(f"bad-{name}.png" for name in (*contents, "link", "folder", "missing"))


@pytest.fixture
def poisoned(folder: Path, encode: Encode) -> Callable[[str], str]:
    def make(poison: str) -> str:
        (folder / f"{poison}.png").write_bytes(encode(noise(20, 60)) + f"poison:{poison}".encode())
        return f"{poison}.png"

    return make


@pytest.mark.parametrize("pieces", [SHAPE, None])
@pytest.mark.parametrize("fetch", [True, False])
def test_crops_notes_and_errors_are_those_of_threads_in_order(
    fetch: bool, pieces: PieceShape | None, good: list[str], bad: list[str], read: Read, feeders: FeederPool
) -> None:
    names = [*good[:9], *bad, *good] * 3

    fed = read(names, feeders, fetch=fetch, pieces=pieces)

    assert fed == read(names)
    assert len({crop.error[0] for crop in fed if crop.error}) > 6
    assert {crop.note for crop in fed} == {None, "first of 2 frames"}
    assert {len(crop.pieces) for crop in fed} > {0, 1, 4}


def test_files_fetched_ahead_by_threads_are_the_same(
    good: list[str], bad: list[str], read: Read, feeders: FeederPool, pool: Executor
) -> None:
    names = [*bad, *good] * 4

    assert read(names, feeders, fetchers=pool) == read(names)


def test_what_a_slot_does_not_hold_is_asked_for_again_or_comes_apart(
    folder: Path, encode: Encode, read: Read, feeders: FeederPool
) -> None:
    # given crops of 7 MB, of which a slot holds one, and one of 14 MB
    for number, side in enumerate((1_500, 1_500, 2_200, 1_500)):
        (folder / f"{number}.png").write_bytes(encode(Image.new("RGB", (side, side), (number, 0, 0))))
    names = [f"{number}.png" for number in range(4)]

    assert read(names, feeders, pieces=None) == read(names)


@pytest.mark.parametrize(
    ("poison", "code"),
    [
        ("crash", ErrorCode.WORKER_CRASHED),
        ("flood", ErrorCode.WORKER_CRASHED),
        ("hang", ErrorCode.TIMED_OUT),
    ],
)
@pytest.mark.usefixtures("impatient")
def test_an_image_that_ends_its_feeder_fails_alone(
    poison: str,
    code: ErrorCode,
    good: list[str],
    poisoned: Callable[[str], str],
    read: Read,
    feeders: FeederPool,
) -> None:
    names = [*good[:5], poisoned(poison), *good[5:]]

    fed = read(names, feeders)

    assert [(crop.item.id, crop.error[0]) for crop in fed if crop.error] == [(f"{poison}.png", code)]
    assert fed[:5] + fed[6:] == read(good)
    if code is ErrorCode.TIMED_OUT:
        assert "took longer than 2 s" in str(fed[5].error)


def test_a_feeder_that_is_killed_from_outside_blames_no_item(
    good: list[str], read: Read, feeders: FeederPool
) -> None:
    read(good, feeders)
    for pid in feeders.pids:
        os.kill(pid, signal.SIGKILL)

    assert read(good, feeders) == read(good)


def test_a_fault_of_this_process_ends_the_chunk_and_not_the_feeders(
    good: list[str], read: Read, feeders: FeederPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("worker.feeders.groups.fed_of", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            read(good, feeders)

    assert read(good, feeders) == read(good)


def test_a_worker_that_stops_waits_for_no_group(
    poisoned: Callable[[str], str], good: list[str], read: Read, make_pool: MakePool
) -> None:
    stop = threading.Event()
    feeders = make_pool(seconds=600.0)
    threading.Timer(1.0, stop.set).start()

    with pytest.raises(InterruptedChunkError):
        read([poisoned("hang"), *good], feeders, stop=stop)


@pytest.mark.usefixtures("impatient")
def test_progress_is_told_while_a_slow_group_is_waited_for(
    poisoned: Callable[[str], str], read: Read, feeders: FeederPool
) -> None:
    told: list[None] = []

    read([poisoned("hang"), poisoned("crash")], feeders, on_alive=lambda: told.append(None))

    assert len(told) > 2


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_two_hundred_chunks_leave_nothing_behind(
    good: list[str], poisoned: Callable[[str], str], read: Read, make_pool: MakePool
) -> None:
    feeders = make_pool(number=2)
    read([*good, poisoned("crash")], feeders)
    while len(feeders.pids) < 2:
        read(good[:2], feeders)
    before, threads = open_descriptors(), threading.active_count()

    for _ in range(200):
        read(good[:2], feeders)

    assert open_descriptors() == before
    assert threading.active_count() == threads
    pids = feeders.pids
    assert len(pids) == 2
    assert all(shared_kilobytes(pid) < 2 * 24 * 1024 for pid in pids)
    feeders.close()
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
    assert open_descriptors() < before


def shared_kilobytes(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssShmem"))


def test_an_error_of_storage_keeps_its_type() -> None:
    assert isinstance(failure_of("StorageBusyError", "slow down"), StorageBusyError)
    assert str(failure_of("StorageBusyError", "slow down")) == "slow down"


@pytest.mark.parametrize("name", ["ItemError", "SystemExit", "os", "OSError", ""])
def test_any_other_error_is_a_failure_of_the_chunk(name: str) -> None:
    assert type(failure_of(name, "odd")) is RuntimeError
