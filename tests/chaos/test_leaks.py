"""A worker process that runs for weeks: memory settles, and stays."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.chaos.scene import Scene

WARM_CHUNKS, CHUNKS = 40, 200
"""By then the model is loaded, every thread has run, and the allocator holds what it will hold."""

GROWTH = 0.10


def resident_bytes(pid: int) -> int:
    """Return what the process holds in memory."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Rss:"))


@pytest.mark.full
@pytest.mark.parametrize("kind", ["crops"], indirect=True)
def test_200_chunks_leave_a_worker_no_larger_than_40(scene: Scene, tmp_path: Path) -> None:
    folder = repeated(scene, tmp_path / "some", 4 * CHUNKS)
    scene.job = replace(scene.job.of(folder, sorted(path.name for path in folder.iterdir())), chunk_size=4)
    scene.start_worker()
    scene.start_control()
    scene.submit()

    scene.wait_for_chunks(WARM_CHUNKS)
    warm = resident_bytes(scene.worker_pid())
    scene.wait_for_chunks(CHUNKS)
    end = resident_bytes(scene.worker_pid())

    scene.finish()
    assert len(scene.worker.wait_for("worker_started")) == 1
    assert end <= warm * (1 + GROWTH), f"{warm >> 20} MiB after {WARM_CHUNKS} chunks, then {end >> 20} MiB"


def repeated(scene: Scene, folder: Path, count: int) -> Path:
    """Return a folder with the scene's crops over and over, under names of their own."""
    crops = sorted(scene.source.iterdir())
    folder.mkdir()
    for number in range(count):
        crop = crops[number % len(crops)]
        (folder / f"{number:05d}{crop.suffix}").write_bytes(crop.read_bytes())
    return folder
