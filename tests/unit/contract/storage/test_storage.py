"""Which backend a URI names; and a scheme of one's own, through the whole of the product's storage."""

import subprocess
import sys
from pathlib import Path

import pytest

from contract.errors import OutsideAllowedRootsError, UnsupportedUriError
from contract.job import Job
from contract.records import Item
from contract.storage import Storage, absolute, any_remote, is_remote, join
from contract.storage.roots import AllowedRoots
from contract.workspace import open_workspace
from producer.api.monitoring.health import check_storage
from producer.sources.listing import identify_source, list_source
from worker.images.decode import fetch
from worker.images.documents import DocumentFiles


@pytest.mark.parametrize("uri", ["ftp://example.org/a", "file:///a", "local:///a", "://a", "/data/a://b"])
def test_other_schemes_are_not_supported(uri: str, storage: Storage) -> None:
    for use in (storage.at, absolute):
        with pytest.raises(
            UnsupportedUriError, match="no storage that this version knows: local paths, s3://, gs://, az://"
        ):
            use(uri)
    assert not is_remote(uri)


@pytest.mark.parametrize(
    ("uri", "expected"), [("s3://bucket/a", True), ("/s3:/a", False), ("s3/a", False), ("", False)]
)
def test_what_has_a_remote_scheme_is_remote(uri: str, expected: bool) -> None:
    assert is_remote(uri) is expected
    assert any_remote(["/a", uri, "ftp://host/b"]) is expected


@pytest.mark.parametrize(
    ("uri", "expected"),
    [("s3://bucket/a//", "s3://bucket/a"), ("s3://bucket/a/../b", "s3://bucket/a/../b"), ("/a/../b/", "/b")],
)
def test_each_backend_has_one_way_to_write_a_uri(uri: str, expected: str) -> None:
    assert absolute(uri) == expected


def test_a_relative_path_is_made_absolute_and_its_links_are_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to("folder")

    assert absolute("link/a") == str(tmp_path / "folder" / "a")


@pytest.mark.parametrize(
    ("root", "expected"),
    [("/", "/a/b"), ("/data/", "/data/a/b"), ("/data", "/data/a/b"), ("s3://bucket/", "s3://bucket/a/b")],
)
def test_joining_puts_one_slash_between(root: str, expected: str) -> None:
    assert join(root, "a", "b") == expected


def test_who_names_no_s3_uri_does_not_import_its_client() -> None:
    program = """if True:
        import sys
        from contract.settings import Settings
        from contract.storage import Storage, absolute, is_remote
        Storage(Settings()).at(absolute("/a")).exists("/a")
        is_remote("/a")
        assert not {"boto3", "botocore", "smart_open", "obstore"} & set(sys.modules)
        is_remote("s3://bucket/a")
        assert "boto3" in sys.modules
    """
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


class TestAnotherScheme:
    """A registered backend is all that sources, workspaces and roots need to know of a scheme."""

    def test_its_objects_are_a_source(self, memory_backend: str, storage: Storage) -> None:
        for name in ("b.png", "a/1.png", "notes.txt"):
            storage.at(memory_backend).replace(join(memory_backend, "crops", name), b"x")

        listing = list_source(identify_source(f"{memory_backend}/crops"), storage, sys.stdin.buffer)

        assert list(listing) == [
            Item(id=name, uri=f"{memory_backend}/crops/{name}") for name in ("a/1.png", "b.png")
        ]
        assert listing.passed_over == {"other_extension": 1}

    def test_its_manifests_name_items(self, memory_backend: str, storage: Storage) -> None:
        uri = join(memory_backend, "crops.csv")
        storage.at(uri).replace(uri, b"id,uri\nfirst,a.png\n")

        listing = list_source(identify_source(uri), storage, sys.stdin.buffer)

        assert list(listing) == [Item(id="first", uri=f"{memory_backend}/a.png")]

    def test_workers_read_its_images_and_documents(self, memory_backend: str, storage: Storage) -> None:
        roots = AllowedRoots((memory_backend,))
        image, document = join(memory_backend, "a.png"), join(memory_backend, "a.pdf")
        storage.at(image).replace(image, b"pixels")
        storage.at(document).replace(document, b"pages")

        with DocumentFiles(storage, roots, 100) as files:
            path = files.path(document)
            assert files.path(document) == path
            assert (path.read_bytes(), path.suffix) == (b"pages", ".pdf")
        assert not path.exists()
        assert fetch(image, storage, roots, 100) == b"pixels"

    def test_a_workspace_lies_in_it(self, memory_backend: str, storage: Storage, job: Job) -> None:
        written = open_workspace(f"{memory_backend}/out/", storage)
        written.save_job(job)
        written.store.create(written.chunk(0), b'{"id":"a","uri":"/a.png"}\n')

        read = open_workspace(f"{memory_backend}/out", Storage(storage._settings))

        assert read.root == f"{memory_backend}/out"
        assert read.load_job() == job
        assert read.chunk_numbers() == {0}
        assert read.items(0) == [Item(id="a", uri="/a.png")]

    def test_its_prefixes_are_allowed_roots(self, memory_backend: str) -> None:
        roots = AllowedRoots((f"{memory_backend}/in/",))

        roots.check(f"{memory_backend}/in/a.png")
        with pytest.raises(OutsideAllowedRootsError):
            roots.check(f"{memory_backend}/inner/a.png")

    def test_the_health_check_looks_into_its_roots(self, memory_backend: str, storage: Storage) -> None:
        assert check_storage(AllowedRoots((memory_backend,)), storage).ok

    def test_messages_name_it(self, memory_backend: str) -> None:
        with pytest.raises(UnsupportedUriError, match=r"ftp:// is no storage .* s3://, .*, mem://"):
            absolute("ftp://bucket/a")
