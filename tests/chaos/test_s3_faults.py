"""S3 on a bad day: what passes costs no line, what is refused costs its own item, what lasts is waited for.

Source and workspace are in a bucket behind `tests.chaos.faulty_s3`. What botocore and the storage retry is no
re-run of a chunk, so transient faults allow none.
"""

import json
import threading

import pytest

from tests.chaos.conftest import with_regions, with_remote_shards
from tests.chaos.faulty_s3 import (
    LIST,
    RANGE,
    Exchange,
    Fault,
    Forward,
    cuts,
    forgets_to_answer,
    holds,
    refuses,
)
from tests.chaos.scene import Record, S3Scene

SOURCE, CHUNKS, PARTS, STATISTICS = "source/", "out/chunks/", "out/parts/", "out/statistics/"

internal_error = refuses(500, "InternalError")
slow_down = refuses(503, "SlowDown")
access_denied = refuses(403, "AccessDenied")


def fails_from_now_on(scene: S3Scene, fault: Fault, after: threading.Event | None = None) -> Fault:
    """S3 answers this one request; whatever comes after it goes wrong, until the rules are lifted.

    The request waits for the event.
    """

    def answer_then_fail(exchange: Exchange, forward: Forward) -> None:
        if after:
            after.wait(120)
        try:
            exchange.answer(*forward())
        finally:
            scene.network.fail(fault)

    return answer_then_fail


def wait_until_no_chunk_is_running(scene: S3Scene) -> None:
    """Given storage that lets no chunk begin: wait for the end of those that had begun."""
    poll = threading.Event()
    while "chunk_started" in last_event_of_each_chunk(scene).values():
        poll.wait(0.05)


def last_event_of_each_chunk(scene: S3Scene) -> dict[int, str]:
    events = map(json.loads, filter(lambda line: '"event": "chunk_' in line, list(scene.worker.lines)))
    return {event["chunk"]: event["event"] for event in events}


@with_remote_shards
def test_s3_answers_500_and_slow_down_in_mid_job(s3_scene: S3Scene, record: Record) -> None:
    scene = s3_scene
    scene.start_worker()
    scene.start_control()
    scene.submit()
    scene.wait_for_chunks(2)

    files = RANGE if scene.job.in_shards else "GET"
    rules = [
        scene.network.fail(slow_down, files, SOURCE, times=4),
        scene.network.fail(internal_error, "GET", CHUNKS, times=1),
        scene.network.fail(internal_error, "PUT", PARTS, times=2),
        scene.network.fail(slow_down, LIST, PARTS, times=1),
    ]

    scene.finish()
    assert [rule.left for rule in rules] == [0, 0, 0, 0]
    record(scene.assert_survived(faults=0))


@pytest.mark.full
@pytest.mark.parametrize(
    ("fault", "listings"),
    [(internal_error, 2), (slow_down, 2), (holds, 1), (cuts, 1), (forgets_to_answer, 1)],
    ids=["500", "503_slow_down", "time_out", "cut_body", "no_answer"],
)
def test_s3_fails_now_and_then(s3_scene: S3Scene, record: Record, fault: Fault, listings: int) -> None:
    """From the listing of the source to the completion marker, each kind of request at least once."""
    scene = s3_scene
    scene.network.fail(fault, LIST, SOURCE, times=listings)
    scene.network.fail(fault, "PUT", "out/job.json", times=1)
    scene.network.fail(fault, "PUT", CHUNKS, times=2)
    scene.start_worker(FAULTS="impatient_s3")
    scene.start_control(FAULTS="impatient_s3")
    scene.submit(FAULTS="impatient_s3")
    scene.wait_for_chunks(1)

    rules = [
        scene.network.fail(fault, "GET", SOURCE, times=3),
        scene.network.fail(fault, "GET", CHUNKS, times=1),
        scene.network.fail(fault, "PUT", STATISTICS, times=1),
        scene.network.fail(fault, "PUT", PARTS, times=2),
        scene.network.fail(fault, "GET", PARTS, times=1),
        scene.network.fail(fault, "PUT", "out/_SUCCESS", times=1),
    ]

    scene.finish()
    assert [rule.left for rule in rules] == [0] * len(rules)
    record(scene.assert_survived(faults=0))


@pytest.mark.full
@pytest.mark.parametrize(
    "fault", [internal_error, slow_down, access_denied], ids=["500", "503_slow_down", "403"]
)
@with_regions
def test_s3_fails_altogether_for_a_while(s3_scene: S3Scene, record: Record, fault: Fault) -> None:
    """The job waits: a chunk cannot write its part, nor the next one begin, so no error line comes of it."""
    scene = s3_scene
    scene.start_worker()
    control = scene.start_control()
    in_mid_chunk, submitted = SOURCE + scene.job.files[17], threading.Event()
    scene.network.fail(fails_from_now_on(scene, fault, submitted), "GET", in_mid_chunk, times=1)
    scene.submit()
    submitted.set()

    control.wait_for("job_stuck")
    wait_until_no_chunk_is_running(scene)
    scene.network.lift()

    scene.finish()
    row = scene.assert_survived(faults=1)
    assert row.reruns >= 1, "the fault struck between chunks"
    record(row)


@pytest.mark.full
@with_regions
def test_single_objects_refused_then_granted(s3_scene: S3Scene, record: Record) -> None:
    scene = s3_scene
    names = [scene.job.files[index] for index in (0, 9, 17)]
    for name in names:
        scene.network.fail(access_denied, "GET", SOURCE + name)
    scene.start_worker()
    scene.start_control()
    scene.submit()

    scene.finish(status=1)

    refused = scene.job.items_of(names)
    assert scene.errors() == dict.fromkeys(refused, "access_denied")
    record(scene.assert_survived(faults=0, failed=len(refused)))

    scene.network.lift()
    assert scene.run("retry-errors", scene.workspace_uri).returncode == 0
    scene.finish()
    assert scene.errors() == {}


@pytest.mark.full
@with_regions
def test_source_refused_for_a_while(s3_scene: S3Scene, record: Record) -> None:
    """While the workspace can be written, a 403 is an answer: error lines for exactly the items refused."""
    scene = s3_scene
    scene.start_worker()
    scene.start_control()
    scene.submit()
    scene.wait_for_chunks(2)

    refused: set[str] = set()

    def refuse_ten(exchange: Exchange, forward: Forward) -> None:
        """The next ten objects, however often each is asked for."""
        name = exchange.path.rpartition("/")[2]
        if name not in refused and len(refused) == 10:
            return exchange.answer(*forward())
        refused.add(name)
        return access_denied(exchange, forward)

    scene.network.fail(refuse_ten, "GET", SOURCE)

    scene.finish(status=1)
    items = scene.job.items_of(refused)
    assert scene.errors() == dict.fromkeys(items, "access_denied")
    record(scene.assert_survived(faults=0, failed=len(items)))


@pytest.mark.full
@pytest.mark.parametrize("fault", [internal_error, access_denied], ids=["500", "403"])
def test_s3_fails_altogether_in_mid_merge(s3_scene: S3Scene, record: Record, fault: Fault) -> None:
    """Control cannot even abort the upload of the results; it waits, merges again, and sweeps."""
    scene = s3_scene
    scene.start_worker()
    control = scene.start_control()
    scene.network.fail(fails_from_now_on(scene, fault), "POST", "out/errors.jsonl", times=1)
    scene.submit()

    control.wait_for("job_stuck")
    scene.network.lift()

    scene.finish()
    record(scene.assert_survived(faults=0))


@pytest.mark.full
def test_writing_refused_for_good(s3_scene: S3Scene) -> None:
    """The job fails and says why, though not even its failure can be written down."""
    scene = s3_scene
    scene.start_worker()
    scene.start_control()
    scene.submit()
    scene.wait_for_chunks(2)

    scene.network.fail(access_denied, "PUT", "out/")

    watch = scene.start_process("watch", "chaos")
    assert watch.popen.wait(180) == 3
    assert watch.wait_for("denies access")
