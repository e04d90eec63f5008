"""Jobs in Google Cloud Storage or Azure Blob Storage: killed workers, and requests that fail."""

import pytest

from tests.chaos.faulty_s3 import LIST, cuts, refuses
from tests.chaos.scene import Record, RemoteScene

pytestmark = [pytest.mark.full, pytest.mark.parametrize("kind", ["crops"], indirect=True)]


def test_worker_killed_three_times_in_a_cloud(cloud_scene: RemoteScene, record: Record) -> None:
    scene = cloud_scene
    scene.start_worker()
    scene.start_control()
    scene.submit()

    scene.kill_worker_three_times(chunks=2)

    scene.finish()
    record(scene.assert_survived(faults=0))


def test_a_cloud_fails_now_and_then(cloud_scene: RemoteScene, record: Record) -> None:
    """From the listing of the source to the completion marker, each kind of request at least once."""
    scene = cloud_scene
    busy, broken = refuses(503, "ServerBusy"), refuses(500, "InternalError")
    rules = [
        scene.network.fail(busy, LIST, "source/", times=2),
        scene.network.fail(broken, "PUT", "out/job.json", times=1),
        scene.network.fail(busy, "PUT", "out/chunks/", times=2),
    ]
    scene.start_worker()
    scene.start_control()
    scene.submit()
    scene.wait_for_chunks(1)

    rules += [
        scene.network.fail(busy, "GET", "source/", times=3),
        scene.network.fail(cuts, "GET", "source/", times=1),
        scene.network.fail(broken, "GET", "out/chunks/", times=1),
        scene.network.fail(broken, "PUT", "out/parts/", times=2),
        scene.network.fail(broken, "GET", "out/parts/", times=1),
        scene.network.fail(busy, "PUT", "out/_SUCCESS", times=1),
    ]

    scene.finish()
    assert [rule.left for rule in rules] == [0] * len(rules)
    record(scene.assert_survived(faults=0))
