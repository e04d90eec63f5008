"""Fingerprints of a source's files."""

import hashlib
import io
import os
from pathlib import Path

import pytest

from contract.errors import UsageError
from contract.source import Source
from contract.storage import Storage
from contract.storage.roots import AllowedRoots
from producer.sources import fingerprints as module
from producer.sources.listing import list_source
from tests.unit.conftest import MockBucket


def fingerprints(
    source: Source, storage: Storage, roots: AllowedRoots | None = None
) -> dict[str, str | None]:
    listing = list_source(source, storage, io.BytesIO(), roots=roots)
    return {item.id: item.fingerprint for item in listing}


def test_a_folders_files_have_the_fingerprint_that_is_asked_for(tmp_path: Path, storage: Storage) -> None:
    (tmp_path / "a.png").write_bytes(b"abc")
    os.utime(tmp_path / "a.png", ns=(5, 7))
    source = Source(type="folder", uri=str(tmp_path))

    by_time = fingerprints(source.model_copy(update={"changed": "mtime+size"}), storage)
    by_bytes = fingerprints(source.model_copy(update={"changed": "sha256"}), storage)

    assert fingerprints(source, storage) == {"a.png": None}
    assert by_time == {"a.png": "7+3"}
    assert by_bytes == {"a.png": f"{hashlib.sha256(b'abc').hexdigest()}+3"}
    with pytest.raises(UsageError, match=r"no etag: use mtime\+size or sha256"):
        fingerprints(source.model_copy(update={"changed": "etag"}), storage)


def test_a_manifests_objects_are_looked_at_one_by_one_in_its_order(
    tmp_path: Path, storage: Storage, s3_bucket: MockBucket
) -> None:
    uris = [s3_bucket.put(f"{n}.png", str(n).encode()) for n in range(50)]
    (tmp_path / "list.jsonl").write_text("".join(f'{{"uri": "{uri}"}}\n' for uri in reversed(uris)))
    source = Source(type="manifest", uri=str(tmp_path / "list.jsonl"), confined=False, changed="etag")

    found = fingerprints(source, storage)

    assert list(found) == list(reversed(uris))
    assert found[uris[0]] == f"{hashlib.md5(b'0').hexdigest()}+1"
    assert len(set(found.values())) == 50


def test_the_file_of_several_regions_is_looked_at_once(
    tmp_path: Path, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [f'{{"uri": "{name}.png", "region": [{n}, 0, 9, 9]}}' for name in "ab" for n in range(9)]
    (tmp_path / "list.jsonl").write_text("\n".join(lines))
    for name in "ab":
        (tmp_path / f"{name}.png").write_bytes(name.encode())
    looked: list[str] = []
    sha256 = module._sha256
    monkeypatch.setattr(module, "_sha256", lambda store, uri: looked.append(uri[-5:]) or sha256(store, uri))
    source = Source(type="manifest", uri=str(tmp_path / "list.jsonl"), confined=False, changed="sha256")

    found = fingerprints(source, storage)

    assert sorted(looked) == ["a.png", "b.png"]
    assert len(found) == 18
    assert found["a.png#r=1"] == found["a.png#r=9"] == f"{hashlib.sha256(b'a').hexdigest()}+1"
    assert found["b.png#r=1"] != found["a.png#r=1"]


def test_a_file_that_cannot_be_looked_at_stays_an_item_without_a_fingerprint(
    tmp_path: Path, storage: Storage
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "secret.png").write_bytes(b"secret")
    (tmp_path / "in/a.png").symlink_to(tmp_path / "secret.png")
    (tmp_path / "in/b.png").symlink_to(tmp_path / "nowhere.png")
    (tmp_path / "in/c.png").write_bytes(b"c")
    source = Source(type="folder", uri=str(tmp_path / "in"), changed="sha256")

    found = fingerprints(source, storage, AllowedRoots((str(tmp_path / "in"),)))

    assert found == {"a.png": None, "b.png": None, "c.png": f"{hashlib.sha256(b'c').hexdigest()}+1"}
