"""A container that stands for a machine with systemd, on which the units of deploy/systemd are installed."""

import os
from dataclasses import dataclass
from pathlib import Path

from tests.deploy.stack import MODEL, Completed, docker, key_and_entry, until

IMAGE = "trace-ocr-try-systemd"
NAME = "trace-ocr-try-systemd"
UNITS = ("trace-ocr-control", "trace-ocr-worker@cpu", "trace-ocr-api", "trace-ocr-flower")

SETTINGS = f"""\
TRACE_OCR_REDIS_URL=redis://127.0.0.1:6379/0
TRACE_OCR_ALLOWED_ROOTS=/srv/samples,/srv/results
TRACE_OCR_MODEL_STORE=/srv/samples/weights
TRACE_OCR_RECOGNITION_MODEL={MODEL}
TRACE_OCR_PRELOAD=recognition
TRACE_OCR_VISIBILITY_TIMEOUT=20
TRACE_OCR_LEASE_SECONDS=5
"""

DROP_IN = "[Service]\nReadWritePaths=/srv/results\n"

NIGHTLY = """\
[Service]
ReadWritePaths=/srv/results
ExecStart=
ExecStart=/opt/trace-ocr/bin/trace-ocr nightly /srv/samples/crops --output /srv/results/nightly
"""

CGROUPS_V1 = "systemd.unified_cgroup_hierarchy=0 SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1"
"""What systemd wants to be told before it runs on the older control groups."""


@dataclass
class Machine:
    """The running container."""

    folder: Path

    def build(self, worker_image: str, timeout: float) -> None:
        """Build its image on the CPU worker's."""
        arguments = ["--network", "host", "--build-arg", f"WORKER_IMAGE={worker_image}", "--tag", IMAGE]
        file = ["--file", "deploy/try/systemd.Dockerfile"]
        docker("build", "--quiet", *arguments, *file, ".", folder=self.folder, timeout=timeout)

    def start(self) -> None:
        """Boot, and configure the units as deploy/README.md says."""
        old = docker("info", "--format", "{{.CgroupVersion}}", folder=self.folder).stdout.strip() == "1"
        flags = ["--detach", "--name", NAME, "--privileged", "--cgroupns", "host" if old else "private"]
        mounts = ["--tmpfs", "/run", "--tmpfs", "/run/lock", "--volume", "/sys/fs/cgroup:/sys/fs/cgroup:rw"]
        cmdline = ["--env", f"SYSTEMD_PROC_CMDLINE={CGROUPS_V1}"] if old else []
        docker("run", *flags, *(mounts if old else mounts[:4]), *cmdline, IMAGE, folder=self.folder)
        until(self._booted, "systemd is up")
        printed = self.run("/opt/trace-ocr/bin/trace-ocr api-key me --scope read --scope submit")
        _, entry = key_and_entry(printed)
        self.write("/etc/trace-ocr/trace-ocr.env", SETTINGS)
        self.write("/etc/trace-ocr/api.env", f"TRACE_OCR_API_KEYS={entry}\n")
        self.write("/etc/trace-ocr/flower.env", f"TRACE_OCR_FLOWER_BASIC_AUTH=me:{os.urandom(8).hex()}\n")
        for unit in (*UNITS, "trace-ocr-nightly"):
            if unit != "trace-ocr-flower":
                text = NIGHTLY if unit == "trace-ocr-nightly" else DROP_IN
                self.write(f"/etc/systemd/system/{unit}.service.d/try.conf", text)
        self.run("install -d -o trace-ocr -g trace-ocr -m 2770 /srv/results && systemctl daemon-reload")
        self.run("systemctl start valkey-server")

    def _booted(self) -> bool:
        state = self.run("systemctl is-system-running || true").strip()
        return state in {"running", "degraded"}

    def end(self) -> None:
        """Remove the container."""
        docker("rm", "--force", "--volumes", NAME, folder=self.folder, check=False)

    def run(self, script: str, *, check: bool = True) -> str:
        """Run a shell script as root; return what it printed."""
        return self._execute("root", script, check=check).stdout

    def run_as_service(self, script: str, *, check: bool = True) -> Completed:
        """Run a shell script as the user of the services, with their settings."""
        # The user cannot read the settings, as documented.
        environment = " ".join(SETTINGS.split())
        return self._execute("trace-ocr", f"export {environment}; umask 027; {script}", check=check)

    def _execute(self, user: str, script: str, *, check: bool) -> Completed:
        command = ["exec", "--user", user, "--workdir", "/", NAME, "bash", "-c", script]
        return docker(*command, folder=self.folder, check=check)

    def write(self, path: str, text: str) -> None:
        """Write a file as root that nobody else may read."""
        self.run(f"umask 077; mkdir -p $(dirname '{path}'); cat > '{path}' <<'END'\n{text}END\n")

    def shows(self, unit: str, *names: str) -> dict[str, str]:
        """Return properties of a unit that are in force."""
        shown = self.run(f"systemctl show {unit} --property={','.join(names)}")
        return dict(line.split("=", 1) for line in shown.splitlines())
