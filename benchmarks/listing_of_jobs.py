"""How long a page of the list of jobs takes with thousands of jobs: `python -m benchmarks.listing_of_jobs`.

Registers jobs in a real Redis server, of which some have not ended, and asks the HTTP API in this process for
pages as the web UI does.
"""

import argparse
import statistics
import tempfile
import time

from fastapi.testclient import TestClient

from contract.broker.ledger import Ledger
from contract.records import PartOutcome
from contract.settings import Settings
from contract.states import State
from producer.api.app import make_app
from producer.api.security.keys import Keyring
from producer.api.services import Services
from producer.local.embedded import embedded_broker

QUERIES = {
    "first page": "",
    "needs attention": "state=attention",
    "running": "state=running",
    "search, one hit": "q=job-17",
    "search, no hit": "q=nowhere",
    "by tag": "tag=night",
    "middle page": "after=job-{middle}",
}


def register(ledger: Ledger, jobs: int, unended: int) -> None:
    """Register the jobs, the newest of which have not ended."""
    for number in range(jobs):
        name = f"job-{number}"
        tags = ["night"] if number % 100 == 0 else []
        ledger.open(name, f"/out/{name}", "recognition", f"s3://scans/{name}", number, tags)
        ledger.plan_done(name, 4, 4_000)
        for chunk in range(3):
            ledger.mark(name, chunk, PartOutcome(990, 10, codes={"truncated": 10}), worker="gpu0@a")
        if number < jobs - unended:
            ledger.finish(name, State.FAILED if number % 500 == 0 else State.COMPLETED, 86_400, "no space")


def main() -> None:
    """Register the jobs and print the milliseconds of each query."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--unended", type=int, default=200)
    parser.add_argument("--repeat", type=int, default=20)
    given = parser.parse_args()
    with embedded_broker() as url, tempfile.TemporaryDirectory() as folder:
        settings = Settings(redis_url=url, allowed_roots=(folder,), api_auth="off")  # type: ignore[arg-type]
        services = Services(settings, Keyring((), required=False))
        register(services.ledger, given.jobs, given.unended)
        with TestClient(make_app(services)) as client:
            show(client, given.jobs, given.repeat)


def show(client: TestClient, jobs: int, repeat: int) -> None:
    """Print the first look, and then the median and the slowest of each query."""
    print(f"first look            {asked(client, ''):8.1f} ms")
    for name, query in QUERIES.items():
        times = [asked(client, query.format(middle=jobs // 2)) for _ in range(repeat)]
        print(f"{name:20s}  {statistics.median(times):8.1f} ms, slowest {max(times):8.1f} ms")
    times = [asked(client, "", "/system") for _ in range(repeat)]
    print(f"{'system':20s}  {statistics.median(times):8.1f} ms, slowest {max(times):8.1f} ms")


def asked(client: TestClient, query: str, path: str = "/jobs") -> float:
    """Return the milliseconds of one answer."""
    begun = time.perf_counter()
    answer = client.get(f"{path}?limit=25&{query}")
    assert answer.status_code == 200, answer.text
    return 1_000 * (time.perf_counter() - begun)


if __name__ == "__main__":
    main()
