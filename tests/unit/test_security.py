"""What a stranger may try: to read outside the roots, to forge messages, to find a secret."""

# ruff: noqa: F401, F811 - fixtures of both sides' layers are used here
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import structlog
from celery import Celery
from celery.exceptions import Reject
from pydantic import SecretStr

from contract.broker.app import make_app, make_redis, send_chunk
from contract.broker.ledger import Ledger
from contract.errors import BrokerError, ErrorCode, ItemError, StorageError, StorageUnavailableError
from contract.job import Job
from contract.logs import configure_logging
from contract.records import ChunkMessage
from contract.settings import Settings, environment_of, load_settings
from contract.storage import Storage
from contract.storage.roots import AllowedRoots
from contract.workspace import Workspace
from producer.cli.main import cli
from producer.local import embedded
from producer.local import run as local
from producer.results.merge import merge
from tests.unit.producer.cli.test_main import sent, trace_ocr
from tests.unit.producer.conftest import crops, planned, write_part
from tests.unit.worker.conftest import (
    context,
    encode,
    isolated,
    message,
    png,
    pool,
    reader,
    recognisers,
)
from worker.app import launcher
from worker.app.tasks import run_message
from worker.images.decode import fetch
from worker.jobs.chunk import WorkerContext


class TestAllowedRoots:
    """An item is read below the roots or not at all, whatever its URI and whatever links lie there."""

    @pytest.fixture
    def secret(self, tmp_path: Path) -> Path:
        """Given a folder of crops, and a secret beside it."""
        (tmp_path / "crops" / "below").mkdir(parents=True)
        (tmp_path / "crops" / "a.png").write_bytes(b"crop")
        (tmp_path / "private").mkdir()
        (tmp_path / "private" / "secret.png").write_bytes(b"secret")
        return tmp_path / "private" / "secret.png"

    @pytest.fixture
    def read(self, secret: Path, storage: Storage, tmp_path: Path) -> Callable[[str], bytes]:
        """Read a URI as an item of a job over the folder of crops; `~` stands for that folder."""
        roots = AllowedRoots((str(tmp_path / "crops"),))
        return lambda uri: fetch(uri.replace("~", str(tmp_path / "crops")), storage, roots, 100)

    def test_what_lies_below_is_read(self, read: Callable[[str], bytes]) -> None:
        assert read("~/below/../a.png") == b"crop"

    @pytest.mark.parametrize(
        "uri",
        [
            "~/../private/secret.png",
            "~/below/../../private/secret.png",
            "~/nowhere/../../private/secret.png",
            "~//..//private/secret.png",
            "~/./../private/./secret.png",
            "~-private/../private/secret.png",
            "../private/secret.png",
            "private/secret.png",
            "s3://bucket/secret.png",
        ],
    )
    def test_no_path_leads_out(self, uri: str, read: Callable[[str], bytes]) -> None:
        with pytest.raises(ItemError) as refused:
            read(uri)

        assert refused.value.code == ErrorCode.OUTSIDE_ALLOWED_ROOTS

    @pytest.mark.parametrize("linked", ["file", "folder", "chain", "relative", "parent"])
    def test_no_symbolic_link_leads_out(
        self, linked: str, secret: Path, read: Callable[[str], bytes], tmp_path: Path
    ) -> None:
        link = tmp_path / "crops" / "link"
        uri = "~/link"
        if linked == "file":
            link.symlink_to(secret)
        elif linked == "folder":
            link.symlink_to(secret.parent)
            uri = "~/link/secret.png"
        elif linked == "chain":
            (tmp_path / "crops" / "below" / "second").symlink_to(secret)
            link.symlink_to(tmp_path / "crops" / "below" / "second")
        elif linked == "relative":
            link.symlink_to("../private/secret.png")
        else:
            link.symlink_to(secret.parent)
            uri = "~/link/../private/secret.png"

        with pytest.raises(ItemError) as refused:
            read(uri)

        assert refused.value.code == ErrorCode.OUTSIDE_ALLOWED_ROOTS

    @pytest.mark.parametrize(
        "uri",
        [
            "~/%2e%2e/private/secret.png",
            "~/..%2fprivate/secret.png",
            "~/%252e%252e/private/secret.png",
            "~%2f..%2fprivate%2fsecret.png",
        ],
    )
    def test_percent_encoding_is_never_decoded(self, uri: str, read: Callable[[str], bytes]) -> None:
        with pytest.raises(ItemError) as refused:
            read(uri)

        assert refused.value.code in (ErrorCode.NOT_FOUND, ErrorCode.OUTSIDE_ALLOWED_ROOTS)

    @pytest.mark.parametrize(
        "scheme", ["file://", "FILE://", "file://localhost", "ftp://host", "S3://bucket"]
    )
    def test_other_schemes_are_refused(self, scheme: str, secret: Path, read: Callable[[str], bytes]) -> None:
        with pytest.raises(ItemError) as refused:
            read(f"{scheme}{secret}")

        assert refused.value.code == ErrorCode.UNSUPPORTED_URI

    @pytest.mark.parametrize("uri", ["~/a.png\0", "\0", "~/" + "x" * 300, "~/" + "x/" * 3000])
    def test_what_can_be_no_name_is_an_item_error(self, uri: str, read: Callable[[str], bytes]) -> None:
        with pytest.raises(ItemError):
            read(uri)

    @pytest.mark.parametrize(
        "uri",
        [
            "s3://bucket/private/secret.png",
            "s3://bucket/crops-private/secret.png",
            "s3://bucket-2/crops/secret.png",
            "s3://bucket/crops/../private/secret.png",
            "s3://bucket/crops/%2e%2e/private/secret.png",
            "s3://bucket/crops/..%2fprivate/secret.png",
            "s3:///bucket/crops/secret.png",
            "/bucket/crops/secret.png",
            "/etc/passwd",
            "file:///etc/passwd",
        ],
    )
    def test_a_job_over_an_s3_prefix_reads_below_that_prefix_alone(
        self, uri: str, storage: Storage, s3_bucket: Any
    ) -> None:
        for key in ("private/secret.png", "crops-private/secret.png", "secret.png"):
            s3_bucket.put(key, b"secret")
        s3_bucket.client.create_bucket(Bucket="bucket-2")
        s3_bucket.client.put_object(Bucket="bucket-2", Key="crops/secret.png", Body=b"secret")

        with pytest.raises(ItemError) as refused:
            fetch(uri, storage, AllowedRoots(("s3://bucket/",)).narrowed("s3://bucket/crops/"), 100)

        assert refused.value.code in (
            ErrorCode.OUTSIDE_ALLOWED_ROOTS,
            ErrorCode.NOT_FOUND,
            ErrorCode.UNSUPPORTED_URI,
        )


class TestForgedMessages:
    """A message is dropped unless it points to a planned chunk of the job that lives in its workspace."""

    @pytest.fixture
    def left(self, message: ChunkMessage, tmp_path: Path, fake_redis: Any) -> Callable[[], Any]:
        """Return all that is written anywhere: every file, every key."""

        def look() -> Any:
            files = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
            keys = {key: fake_redis.dump(key) for key in sorted(fake_redis.keys())}
            return files, keys

        return look

    @pytest.fixture
    def deliver(self, message: ChunkMessage, context: WorkerContext) -> Callable[..., dict[str, object]]:
        """Deliver the message with some fields changed."""

        def run(*args: object, **changes: object) -> dict[str, object]:
            payload = {"job": message.job, "workspace": message.workspace, "chunk": 0, **changes}
            return run_message("recognition", args, payload, context, lambda: None)

        return run

    @pytest.mark.parametrize(
        "changes",
        [
            {"job": None},
            {"job": 1},
            {"job": ["crops-1"]},
            {"job": "crops-1\n"},
            {"job": "crops-1:done"},
            {"job": "*"},
            {"job": "other-1"},
            {"workspace": 5},
            {"workspace": {"root": "/"}},
            {"workspace": "\0"},
            {"workspace": "\ud800"},
            {"workspace": "/" + "x" * 5000},
            {"workspace": "/etc"},
            {"workspace": "../../../etc"},
            {"workspace": "file:///etc"},
            {"workspace": "s3://somebody-elses/out"},
            {"chunk": True},
            {"chunk": 0.0},
            {"chunk": "0"},
            {"chunk": -1},
            {"chunk": 10**30},
            {"chunk": [0]},
            {"chunk": 2},
            {"chunk": 999_999},
            {"eta": "now"},
            {"__reduce__": "os.system"},
        ],
        ids=lambda changes: str(changes)[:40],
    )
    def test_wrong_fields_are_dropped_and_nothing_is_written(
        self, changes: dict[str, object], deliver: Callable[..., Any], left: Callable[[], Any]
    ) -> None:
        before = left()

        assert set(deliver(**changes)) == {"dropped"}

        assert left() == before

    def test_positional_arguments_are_dropped(
        self, deliver: Callable[..., Any], left: Callable[[], Any]
    ) -> None:
        before = left()

        assert set(deliver("crops-1", "/", 0)) == {"dropped"}

        assert left() == before

    @pytest.mark.parametrize(
        "job_json", [None, b"", b"{}", b"not a job", b'{"id": "crops-1"}'], ids=["none", *"abcd"]
    )
    def test_a_folder_that_is_no_workspace_is_not_written_to_and_the_job_that_is_named_goes_on(
        self, job_json: bytes | None, deliver: Callable[..., Any], left: Callable[[], Any], tmp_path: Path
    ) -> None:
        # given a folder below the roots that holds, perhaps, a job.json of someone else's
        (tmp_path / "theirs").mkdir()
        if job_json is not None:
            (tmp_path / "theirs" / "job.json").write_bytes(job_json)
        before = left()

        assert set(deliver(workspace=str(tmp_path / "theirs"))) == {"dropped"}

        assert left() == before

    def test_another_jobs_workspace_is_not_written_to(
        self, deliver: Callable[..., Any], left: Callable[[], Any], job: Job, storage: Storage, tmp_path: Path
    ) -> None:
        other = Workspace(str(tmp_path / "other"), storage.at("/"))
        other.save_job(job.model_copy(update={"id": "other-1"}))
        before = left()

        assert set(deliver(workspace=other.root)) == {"dropped"}

        assert left() == before

    @pytest.mark.parametrize(
        "changes",
        [{"x" * (1 << 20): 1}, {"job": "x" * (1 << 20)}, {"workspace": "x" * (1 << 20)}, {"a": [0] * 99}],
    )
    def test_what_is_said_of_a_huge_message_is_short(
        self, changes: dict[str, object], deliver: Callable[..., Any]
    ) -> None:
        assert len(str(deliver(**changes))) < 1000

    def test_json_is_all_that_the_app_accepts(self, settings: Settings) -> None:
        app = make_app(settings.model_copy(update={"redis_url": SecretStr("redis://broker")}))

        assert app.conf.accept_content == ["json"]
        assert app.conf.task_serializer == "json"
        assert set(app.conf.accept_content) | {app.conf.result_serializer, app.conf.event_serializer} == {
            "json"
        }


PASSWORD, ACCESS_KEY, SECRET_KEY = "hunter2", "AKIAEXAMPLEEXAMPLE", "wJalrEXAMPLEKEY"
SECRETS = (PASSWORD, ACCESS_KEY, SECRET_KEY)
URL = f"redis://worker:{PASSWORD}@broker:6379/0"


def assert_no_secret(*texts: str) -> None:
    for text in texts:
        assert text
        assert [secret for secret in SECRETS if secret in text] == []


@pytest.fixture
def secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given secrets where operators put them, and an empty working folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TRACE_OCR_REDIS_URL", URL)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)


@pytest.mark.usefixtures("secrets", "restored_logging")
class TestSecrets:
    """A secret is in the environment, and nowhere else."""

    def test_not_in_messages(self, settings: Settings) -> None:
        app = make_app(load_settings())
        app.conf.update(broker_url="memory://", broker_transport_options={})

        send_chunk(app, ChunkMessage("crops-1", "/data/out", 0), "recognition", "trace-ocr.recognition", 1)

        with app.connection_for_read() as connection:
            sent_message = connection.default_channel._get("trace-ocr.recognition")
            body = connection.default_channel.decode_body(
                sent_message["body"], sent_message["properties"]["body_encoding"]
            )
        assert_no_secret(json.dumps(sent_message), str(body))

    def test_not_in_any_file_of_a_job(
        self, trace_ocr: Any, crops: Any, sent: Any, planned: Job, workspace: Workspace, write_part: Any
    ) -> None:
        # given a job that was submitted with secrets around, and one that was merged so
        trace_ocr("submit", str(crops("a.png")), "-o", "submitted")
        for number in range(3):
            write_part(number, failed=("0.png",) if number == 0 else ())
        merge(planned, workspace)

        written = [path for path in Path(workspace.root).parent.rglob("*.json*") if path.is_file()]

        assert {"job.json", "summary.json", "results.jsonl", "errors.jsonl"} <= {
            path.name for path in written
        }
        assert_no_secret(*(path.read_text() for path in written))

    @pytest.mark.parametrize(
        "arguments",
        [
            ["status"],
            ["status", "--help"],
            ["status", "--json"],
            ["submit", "--help"],
            ["worker", "--help"],
            ["--help"],
        ],
        ids=" ".join,
    )
    def test_not_in_what_the_program_prints(
        self, arguments: list[str], trace_ocr: Any, crops: Any, sent: Any
    ) -> None:
        trace_ocr("submit", str(crops("a.png")), "-o", "out")

        outcome = trace_ocr(*arguments)

        assert outcome.code == 0
        assert_no_secret(outcome.out + outcome.err)

    @pytest.mark.parametrize("command", [["status"], ["submit", ".", "-o", "out"], ["control"]], ids=" ".join)
    @pytest.mark.parametrize("character", ["/", "?", "#"])
    def test_not_in_what_is_said_of_a_url_whose_password_is_not_encoded(
        self, character: str, command: list[str], trace_ocr: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Generated passwords hold such characters; the URL then reads as a host with a strange port."""
        monkeypatch.setenv("TRACE_OCR_REDIS_URL", f"redis://:{PASSWORD}{character}x@broker:6379/0")

        outcome = trace_ocr(*command)

        assert outcome.code == 3
        assert "TRACE_OCR_REDIS_URL" in outcome.err
        assert_no_secret(outcome.err)

    @pytest.mark.parametrize("form", ["json", "console"])
    @pytest.mark.parametrize("character", ["", "@", "/", "?", "#", "%2F", ":"])
    def test_not_in_the_log_nor_in_its_tracebacks(
        self, form: Any, character: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        url = f"rediss://worker:x{character}{PASSWORD}@broker:6379/0"
        configure_logging(load_settings(log_format=form))

        structlog.get_logger().error("redis_away", error=f"{url} is away", tried=[{"url": url}])
        try:
            raise ConnectionError(f"{url} is away")
        except ConnectionError:
            structlog.get_logger().exception("chunk_failed")

        logged = capsys.readouterr().err
        assert "ConnectionError" in logged
        assert_no_secret(logged)

    @pytest.mark.parametrize("form", ["json", "console"])
    def test_not_in_the_log_of_a_worker_that_s3_refuses(
        self,
        form: Any,
        message: ChunkMessage,
        context: WorkerContext,
        s3_bucket: Any,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        configure_logging(load_settings(log_format=form, log_level="debug"))
        roots = AllowedRoots(("s3://no-such-bucket",))

        outcome = run_message(
            "recognition",
            (),
            {"job": message.job, "workspace": "s3://no-such-bucket/out", "chunk": 0},
            replace(context, roots=roots),
            lambda: None,
        )

        assert_no_secret(capsys.readouterr().err, str(outcome))

    def test_not_in_the_settings_as_they_are_shown_or_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert_no_secret(repr(load_settings()), str(load_settings()), load_settings().model_dump_json())

    def test_not_in_the_command_line_of_any_child(
        self, job: Job, settings: Settings, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        commands: list[list[str]] = []
        environments: list[dict[str, str]] = []

        def popen(command: list[str], **options: Any) -> Any:
            commands.append(command)
            environments.append(options.get("env") or {})
            return SimpleNamespace(
                poll=lambda: None,
                wait=lambda: 0,
                terminate=lambda: None,
                kill=lambda: None,
                send_signal=lambda _: None,
            )

        fake = SimpleNamespace(**{**vars(subprocess), "Popen": popen})
        for module in (local, launcher, embedded):
            monkeypatch.setattr(module, "subprocess", fake)
        monkeypatch.setattr(embedded, "_wait_for_answer", lambda *_: None)

        with local._worker(load_settings(), dict(os.environ)), embedded.embedded_broker():
            launcher._start("cpu")

        assert len(commands) == 3
        assert_no_secret(*(" ".join(command) for command in commands))
        # and yet the workers know them
        assert [env["TRACE_OCR_REDIS_URL"] for env in environments if env] == [URL, URL]
