"""The units, under systemd: they start, come back, end within their grace, and confine what they run."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.machine import UNITS, Machine
from tests.deploy.stack import Stack, until
from tests.deploy.test_1_images import BUILD_SECONDS, image

COPIES = 4
"""Times that each of the sample crops is read in a job in whose middle something ends."""


@pytest.fixture(scope="module")
def machine(folder: Path) -> Iterator[Machine]:
    """Given a machine on which the units are installed, and started."""
    machine = Machine(folder)
    machine.end()
    machine.build(image(Stack(folder), "worker-cpu"), BUILD_SECONDS)
    machine.start()
    machine.run(f"systemctl enable --quiet --now {' '.join(UNITS)}")
    until(lambda: serving(machine), "a worker is there")
    yield machine
    machine.end()


def serving(machine: Machine) -> bool:
    """Return whether the API says that all is well."""
    script = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:8080/health').status)"
    return machine.run(f'python3 -c "{script}" || true').strip() == "200"


def submit(machine: Machine, job: str) -> None:
    """Submit a job of many crops as the services' user, and wait until some chunks are done."""
    machine.run_as_service(
        f"cd /srv/samples/crops && for copy in $(seq {COPIES}); do for name in *; do "
        f'echo "{{\\"id\\": \\"$copy-$name\\", \\"uri\\": \\"/srv/samples/crops/$name\\"}}"; done; done '
        f"> /srv/results/{job}.jsonl"
    )
    machine.run_as_service(
        f"/opt/trace-ocr/bin/trace-ocr submit /srv/results/{job}.jsonl -o /srv/results/{job} "
        f"--job-id {job} --chunk-size 32"
    )
    until(lambda: status(machine, job)["chunks"]["done"] >= 4, "some chunks are done")


def status(machine: Machine, job: str) -> dict[str, dict[str, int]]:
    text = machine.run_as_service(f"/opt/trace-ocr/bin/trace-ocr status {job} --json").stdout
    found: dict[str, dict[str, int]] = json.loads(text)
    return found


def check(machine: Machine, job: str) -> None:
    """Wait for a job's end, and check that each item is there once."""
    machine.run_as_service(f"/opt/trace-ocr/bin/trace-ocr watch {job} > /dev/null")
    text = machine.run_as_service(f"/opt/trace-ocr/bin/trace-ocr results /srv/results/{job}").stdout
    ids = [json.loads(line)["id"] for line in text.splitlines()]
    names = sorted(path.name for path in (machine.folder / "samples" / "crops").iterdir())
    assert ids == [f"{copy}-{name}" for copy in range(1, COPIES + 1) for name in names]


@pytest.mark.parametrize("unit", UNITS)
def test_the_unit_runs_as_its_user_and_is_confined(machine: Machine, unit: str) -> None:
    """Given the options of a unit: they are in force in its process."""
    pid = machine.shows(unit, "MainPID")["MainPID"]
    words = dict(
        line.split(":\t", 1) for line in machine.run(f"cat /proc/{pid}/status").splitlines() if ":\t" in line
    )
    inside = f"nsenter --target {pid} --mount"
    written = machine.run(f"{inside} touch /usr/x /etc/x /opt/trace-ocr/x 2>&1 || true")

    assert machine.run(f"ps -o user= -p {pid}").strip() == "trace-ocr"
    assert (words["NoNewPrivs"], words["Seccomp"]) == ("1", "2")
    assert {words[name] for name in ("CapPrm", "CapEff", "CapBnd")} == {"0" * 16}
    assert written.count("Read-only file system") == 3
    assert machine.run(f"{inside} ls /home /root 2>&1 || true").count("home") <= 1


@pytest.mark.parametrize("unit", UNITS)
def test_systemd_rates_the_unit_as_confined(machine: Machine, unit: str) -> None:
    machine.run(f"systemd-analyze security --no-pager --threshold=30 {unit} > /dev/null")


@pytest.mark.parametrize("unit", UNITS[:2])
def test_the_unit_comes_back_after_kill_9_in_mid_job(machine: Machine, unit: str) -> None:
    job = f"killed-{UNITS.index(unit)}"
    submit(machine, job)
    machine.run(f"kill -9 {machine.shows(unit, 'MainPID')['MainPID']}")

    until(lambda: machine.shows(unit, "NRestarts")["NRestarts"] == "1", "it is restarted")

    check(machine, job)


def test_the_worker_is_restarted_in_mid_job(machine: Machine) -> None:
    submit(machine, "restarted")

    machine.run("systemctl restart trace-ocr-worker@cpu")

    check(machine, "restarted")


def test_a_night_is_read_by_the_timers_service(machine: Machine) -> None:
    machine.run("systemctl start trace-ocr-nightly.service")

    latest = machine.run("wc -l < /srv/results/nightly/latest.jsonl").strip()
    assert int(latest) == len(list((machine.folder / "samples" / "crops").iterdir()))


def test_files_are_owned_as_documented(machine: Machine) -> None:
    paths = "/srv/results /srv/results/killed-0 /srv/results/killed-0/results.jsonl /var/lib/trace-ocr-flower"
    paths += " /var/cache/trace-ocr /etc/trace-ocr /etc/trace-ocr/trace-ocr.env"

    found = machine.run(f"stat --format '%n %U:%G %a' {paths}").splitlines()

    assert found == [
        "/srv/results trace-ocr:trace-ocr 2770",
        "/srv/results/killed-0 trace-ocr:trace-ocr 2750",
        "/srv/results/killed-0/results.jsonl trace-ocr:trace-ocr 640",
        "/var/lib/trace-ocr-flower trace-ocr:trace-ocr 700",
        "/var/cache/trace-ocr trace-ocr:trace-ocr 755",
        "/etc/trace-ocr root:root 700",
        "/etc/trace-ocr/trace-ocr.env root:root 600",
    ]
    assert machine.run("find /srv/results ! -user trace-ocr") == ""


def test_the_units_end_by_themselves_within_their_grace(machine: Machine) -> None:
    submit(machine, "stopped")
    machine.run(f"systemctl stop {' '.join(UNITS)}")

    ends = {unit: machine.shows(unit, "Result", "ExecMainStatus", "ExecMainCode") for unit in UNITS}
    assert ends == {unit: {"Result": "success", "ExecMainStatus": "0", "ExecMainCode": "1"} for unit in UNITS}
    machine.run(f"systemctl start {' '.join(UNITS)}")
    check(machine, "stopped")
