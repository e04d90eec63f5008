"""The job in whose middle things end: many crops, whose results are known."""

import json

from tests.deploy.stack import Stack

CROPS = 2048
"""Half a minute on two cores that others use too."""

CHUNK = 32
BEGUN = 8
"""Finished chunks, of 64, from which on a job is in its middle."""


def fill(stack: Stack) -> None:
    """Put the sample crops on a stack's storage, and a manifest that names each many times under new ids."""
    stack.copy(stack.folder / "samples" / "crops", "s3://scans/crops/")
    names = sorted(path.name for path in (stack.folder / "samples" / "crops").iterdir())
    wanted = [(f"{number:05}", names[number % len(names)]) for number in range(CROPS)]
    lines = [json.dumps({"id": identity, "uri": f"s3://scans/crops/{name}"}) for identity, name in wanted]
    made = stack.folder / "out" / "manifests"
    made.mkdir(parents=True, exist_ok=True)
    (made / "many.jsonl").write_text("\n".join(lines))
    stack.copy(made, "s3://scans/manifests/")


def begin(stack: Stack, identity: str) -> str:
    """Submit a job of many crops, and wait until some of its chunks are done."""
    with stack.client() as client:
        client.submit(
            "s3://scans/manifests/many.jsonl",
            f"s3://results/{identity}/",
            job_id=identity,
            chunk_size=CHUNK,
        )
    stack.until_done(identity, BEGUN)
    return identity


def check(stack: Stack, job: str, labels: dict[str, str]) -> None:
    """Check that every item is there once, in order, and that each reading of a crop is the same."""
    lines = stack.lines(job)
    names = sorted(labels)

    assert [line["id"] for line in lines] == [f"{number:05}" for number in range(CROPS)]
    texts: dict[str, set[str]] = {}
    for number, line in enumerate(lines):
        texts.setdefault(names[number % len(names)], set()).add(line["value"])
    assert [name for name, read in texts.items() if len(read) > 1] == []
