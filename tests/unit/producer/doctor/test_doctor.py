"""`trace-ocr doctor`: each fault is found and what is sound is left alone; no secret is shown."""

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import redis

from contract.broker.process_report import ProcessReport
from contract.broker.reports import Reports
from contract.errors import ExitCode
from contract.model_store import ModelStore
from contract.settings import Settings
from contract.storage import Storage
from contract.storage.base import Version
from contract.storage.roots import AllowedRoots
from producer.doctor.broker import check_broker
from producer.doctor.finding import Finding, Verdict
from producer.doctor.machine import check_devices
from producer.doctor.models import check_models
from producer.doctor.report import exit_code, findings
from producer.doctor.settings import UNSEEN, check_settings, settings_in_force
from producer.doctor.storage import check_roots
from producer.session import Session
from tests.unit.conftest import MockBucket

SOUND = {
    "redis_version": "8.0.0",
    "role": "master",
    "maxmemory_policy": "noeviction",
    "maxmemory": 1_000,
    "used_memory": 100,
    "evicted_keys": 0,
    "aof_enabled": 1,
}


def faults(found: Iterable[Finding]) -> dict[str, Verdict]:
    """Return what is neither sound nor skipped."""
    return {one.check: one.verdict for one in found if one.verdict in (Verdict.WARNING, Verdict.FAILED)}


class Broker:
    """A Redis that says this about itself; every other command goes to the fake."""

    def __init__(self, client: Any, info: dict[str, Any] | Exception, ahead: float = 0.0) -> None:
        self._client, self._info, self._ahead = client, info, ahead

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def info(self) -> dict[str, Any]:
        if isinstance(self._info, Exception):
            raise self._info
        return self._info

    def time(self) -> tuple[int, int]:
        return int(time.time() + self._ahead), 0


class TestBroker:
    @pytest.fixture
    def broker(self, fake_redis: Any) -> Any:
        """Given a live worker and control process."""
        now = time.time()
        for role in ("worker", "control"):
            Reports(fake_redis, "trace-ocr").write(
                ProcessReport(f"{role}@a", role, 1, "a", "cpu", now, now)  # type: ignore[arg-type]
            )
        return lambda **changed: Broker(fake_redis, {**SOUND, **changed})

    def test_a_sound_one_has_no_fault(self, broker: Any) -> None:
        assert faults(check_broker(broker(), Settings())) == {}

    @pytest.mark.parametrize(
        ("changed", "check", "verdict"),
        [
            ({"maxmemory_policy": "allkeys-lru"}, "redis: memory policy", Verdict.FAILED),
            ({"evicted_keys": 3}, "redis: evictions", Verdict.FAILED),
            ({"role": "slave"}, "redis: role", Verdict.FAILED),
            ({"used_memory": 900}, "redis: memory", Verdict.WARNING),
            ({"used_memory": 1_000}, "redis: memory", Verdict.FAILED),
            ({"cluster_enabled": 1}, "redis: cluster", Verdict.FAILED),
            ({"aof_enabled": 0}, "redis: persistence", Verdict.WARNING),
        ],
    )
    def test_each_fault_is_named(
        self, changed: dict[str, Any], check: str, verdict: Verdict, broker: Any
    ) -> None:
        assert faults(check_broker(broker(**changed), Settings())) == {check: verdict}

    def test_missing_processes_and_a_wrong_clock_are_warnings(self, fake_redis: Any) -> None:
        found = faults(check_broker(Broker(fake_redis, SOUND, ahead=90), Settings()))  # type: ignore[arg-type]

        assert found == dict.fromkeys(("clock", "processes: worker", "processes: control"), Verdict.WARNING)

    def test_a_user_who_may_not_ask_for_the_configuration_still_gets_the_rest(self, fake_redis: Any) -> None:
        broker = Broker(fake_redis, redis.ResponseError("NOPERM no permissions to run 'info'"))

        checks = {one.check: one.verdict for one in check_broker(broker, Settings())}  # type: ignore[arg-type]

        assert checks["redis: configuration"] is Verdict.SKIPPED
        assert "processes: worker" in checks

    def test_an_unreachable_one_fails_without_its_password(self) -> None:
        class Away(Broker):
            def time(self) -> tuple[int, int]:
                raise redis.ConnectionError("redis://user:hunter2@host/0 refused")

        (found,) = check_broker(Away(None, {}), Settings())  # type: ignore[arg-type]

        assert found.verdict is Verdict.FAILED
        assert "hunter2" not in found.detail


class TestStorage:
    def test_sound_roots_are_written_to_and_left_empty(self, tmp_path: Path, s3_bucket: MockBucket) -> None:
        roots = AllowedRoots((str(tmp_path), s3_bucket.uri("scans/")))

        found = list(check_roots(roots, Storage(Settings()), write=True))

        assert [one.verdict for one in found] == [Verdict.OK] * 2, found
        assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
        assert s3_bucket.keys() == []

    def test_nothing_is_written_if_that_is_asked_for(self, tmp_path: Path) -> None:
        list(check_roots(AllowedRoots((str(tmp_path),)), Storage(Settings()), write=False))

        assert list(tmp_path.iterdir()) == []

    def test_a_root_that_is_missing_fails(self, tmp_path: Path, s3_bucket: MockBucket) -> None:
        roots = AllowedRoots((str(tmp_path / "none"), "s3://no-such-bucket/"))

        assert set(faults(check_roots(roots, Storage(Settings()), write=True)).values()) == {Verdict.FAILED}

    def test_a_clock_that_is_wrong_is_a_warning(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        storage = Storage(Settings())
        store = storage.at(str(tmp_path))
        told = store.version

        def ahead(uri: str) -> Version:
            version = told(uri)
            return version._replace(modified=version.modified + 60 * 10**9)

        monkeypatch.setattr(store, "version", ahead)

        (found,) = check_roots(AllowedRoots((str(tmp_path),)), storage, write=True)

        assert found.verdict is Verdict.WARNING
        assert "by +60 s" in found.detail

    def test_storage_that_ignores_conditions_fails(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        storage = Storage(Settings())
        store = storage.at(str(tmp_path))

        def create(uri: str, data: bytes) -> bool:
            store.replace(uri, data)
            return True

        monkeypatch.setattr(store, "create", create)

        (found,) = check_roots(AllowedRoots((str(tmp_path),)), storage, write=True)

        assert found.verdict is Verdict.FAILED
        assert "If-None-Match" in found.detail


class TestModels:
    def test_the_bundled_store_is_whole_and_damage_is_seen(self, samples: Path, tmp_path: Path) -> None:
        settings = Settings(recognition_model="crnn_mobilenet_v3_small", detection_model="linknet_resnet18")
        checks = {
            one.check: one
            for one in check_models(settings, ModelStore(str(samples / "weights"), Storage(settings)))
        }
        for name in ("crnn_mobilenet_v3_small", "linknet_resnet18"):
            assert "checksum verified" in checks[f"models: {name}"].detail

        for file in (samples / "weights").iterdir():
            (tmp_path / file.name).write_bytes(file.read_bytes())
        (tmp_path / "linknet_resnet18.pt").write_bytes(b"cut")
        found = faults(check_models(settings, ModelStore(str(tmp_path), Storage(settings))))
        assert found["models: linknet_resnet18"] is Verdict.FAILED
        assert "models: crnn_mobilenet_v3_small" not in found

    def test_a_name_that_nothing_has_fails(self) -> None:
        found = faults(check_models(Settings(recognition_model="mine"), None))

        assert found["models: mine"] is Verdict.FAILED
        assert found["models: db_resnet50"] is Verdict.WARNING


class TestSettings:
    def test_origins_are_told_and_secrets_are_not(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        (tmp_path / "trace-ocr.toml").write_text('namespace = "night"\nchunk_size = 7\n')
        environment = {
            "TRACE_OCR_REDIS_URL": "redis://:hunter2@host/0",
            "TRACE_OCR_NOTIFY": "https://hooks.example.org/services/hunter2",
            "TRACE_OCR_CHUNK_SIZE": "9",
        }
        for name, value in environment.items():
            monkeypatch.setenv(name, value)

        shown = {one.name: (one.value, one.origin) for one in settings_in_force(Settings(), environment)}

        assert shown["redis_url"] == (UNSEEN, "environment")
        assert shown["notify"] == (UNSEEN, "environment")
        assert shown["namespace"] == ("night", "trace-ocr.toml")
        assert shown["chunk_size"] == ("9", "environment")
        assert shown["devices"] == ("auto", "default")
        assert "hunter2" not in str(shown)

    def test_a_misspelt_variable_is_named_with_what_it_should_be(self) -> None:
        settings = Settings(allowed_roots=("/data",))

        (found,) = check_settings(settings, {"TRACE_OCR_REDISURL": "x", "PATH": "y"})

        assert (found.verdict, found.advice) == (Verdict.WARNING, "did you mean TRACE_OCR_REDIS_URL?")


def test_the_devices_are_those_of_a_worker() -> None:
    (found,) = check_devices(Settings(devices="cpu"))

    assert (found.verdict, found.detail.startswith("CPU with")) == (Verdict.OK, True)
    assert faults(check_devices(Settings(devices="moon"))) == {"devices": Verdict.FAILED}


def test_a_laptop_without_redis_is_no_failure(tmp_path: Path) -> None:
    found = list(findings(Session(Settings(allowed_roots=(str(tmp_path),), devices="cpu")), write=True))

    assert exit_code(found) is ExitCode.OK
    assert next(one for one in found if one.check == "redis").verdict is Verdict.SKIPPED
