"""Allowed roots: only files below a root may be read."""

from pathlib import Path

import pytest

from contract.errors import ObjectMissingError, OutsideAllowedRootsError, UnsupportedUriError
from contract.storage import Storage
from contract.storage.roots import AllowedRoots, check_root
from tests.unit.conftest import MockBucket


@pytest.mark.parametrize(
    ("root", "uri"),
    [
        ("/data/crops", "/data/crops"),
        ("/data/crops/", "/data/crops/a.png"),
        ("/data/crops", "/data/crops/x/../a.png"),
        ("/", "/anything/at/all"),
        ("s3://bucket/crops", "s3://bucket/crops/a.png"),
        ("s3://bucket/crops/", "s3://bucket/crops"),
        ("s3://bucket", "s3://bucket/a.png"),
    ],
)
def test_what_lies_at_or_below_a_root_is_allowed(root: str, uri: str) -> None:
    AllowedRoots((root,)).check(uri)


@pytest.mark.parametrize(
    ("root", "uri"),
    [
        ("/data/crops", "/data/crops-private/a.png"),
        ("/data/crops", "/data"),
        ("/data/crops", "/data/crops/../secret"),
        ("s3://bucket/crops", "s3://bucket/crops-private/a.png"),
        ("s3://bucket", "s3://bucket-2/a.png"),
        ("s3://bucket/crops", "/bucket/crops/a.png"),
        ("/data", "s3://data/a.png"),
    ],
)
def test_what_lies_elsewhere_is_refused_and_the_message_says_what_to_set(root: str, uri: str) -> None:
    with pytest.raises(OutsideAllowedRootsError, match="TRACE_OCR_ALLOWED_ROOTS"):
        AllowedRoots((root,)).check(uri)


def test_no_root_allows_nothing() -> None:
    with pytest.raises(OutsideAllowedRootsError):
        AllowedRoots(()).check("/a.png")


def test_a_symbolic_link_out_of_the_root_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(b"x")
    (tmp_path / "crops").mkdir()
    (tmp_path / "crops" / "a.png").symlink_to(tmp_path / "secret.png")

    # More roots are no advice: a source with such a link would still not be left.
    with pytest.raises(
        OutsideAllowedRootsError, match=r"a\.png is outside the allowed roots: a link leads there"
    ):
        AllowedRoots((str(tmp_path / "crops"),)).check(str(tmp_path / "crops" / "a.png"))


def test_a_root_that_is_a_link_allows_what_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "crops").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "crops")

    AllowedRoots((str(tmp_path / "link"),)).check(str(tmp_path / "crops" / "a.png"))


@pytest.mark.parametrize("uri", ["ftp://example.org/a.png", "file:///a.png", "/nul\0byte.png"])
def test_what_is_neither_a_path_nor_s3_is_not_supported(uri: str) -> None:
    with pytest.raises(UnsupportedUriError):
        AllowedRoots(("/",)).check(uri)


def test_narrowed_roots_allow_only_the_one_named() -> None:
    narrowed = AllowedRoots(("/data", "/more")).narrowed("/data/crops")

    narrowed.check("/data/crops/a.png")
    with pytest.raises(OutsideAllowedRootsError):
        narrowed.check("/data/other/a.png")


def test_roots_cannot_be_narrowed_to_what_is_not_allowed() -> None:
    with pytest.raises(OutsideAllowedRootsError):
        AllowedRoots(("/data",)).narrowed("/etc")


class TestForOneChunk:
    """A chunk's roots presume where a file is; they resolve a folder only once."""

    @pytest.fixture
    def roots(self, tmp_path: Path) -> AllowedRoots:
        """Roots that allow only `in/`; next to it is `out/`, and each has a file."""
        for name in ("in", "out"):
            (tmp_path / name / "below").mkdir(parents=True)
            (tmp_path / name / "a.png").touch()
        return AllowedRoots((str(tmp_path / "in"),)).for_one_chunk()

    @pytest.mark.parametrize(
        "name", ["a.png", "./a.png", "below/../a.png", "below//b.png", "missing/c.png", "gone.png"]
    )
    def test_what_lies_below(self, roots: AllowedRoots, tmp_path: Path, name: str) -> None:
        for _ in range(2):
            assert roots.presumed(f"{tmp_path}/in/{name}") == roots.resolved(f"{tmp_path}/in/{name}")

    def test_a_folder_that_is_a_link_is_resolved(self, roots: AllowedRoots, tmp_path: Path) -> None:
        (tmp_path / "in" / "linked").symlink_to(tmp_path / "in" / "below")

        assert roots.presumed(f"{tmp_path}/in/linked/a.png") == f"{tmp_path}/in/below/a.png"

    @pytest.mark.parametrize("name", ["linked/a.png", "../out/a.png", "below/../../out/a.png"])
    def test_nothing_is_presumed_outside(self, roots: AllowedRoots, tmp_path: Path, name: str) -> None:
        (tmp_path / "in" / "linked").symlink_to(tmp_path / "out")

        for _ in range(2):
            assert roots.presumed(f"{tmp_path}/in/{name}") is None

    @pytest.mark.parametrize("name", ["..", "below/..", ".", ""])
    def test_nor_of_what_is_no_name(self, roots: AllowedRoots, tmp_path: Path, name: str) -> None:
        assert roots.presumed(f"{tmp_path}/in/{name}") is None

    @pytest.mark.parametrize("uri", ["s3://bucket/in/a.png", "https://example.org/a.png"])
    def test_nor_of_what_is_no_path(self, uri: str) -> None:
        assert AllowedRoots(("/", "s3://bucket/in")).for_one_chunk().presumed(uri) is None

    def test_only_for_one_chunk(self, roots: AllowedRoots, tmp_path: Path) -> None:
        assert AllowedRoots((str(tmp_path),)).presumed(f"{tmp_path}/in/a.png") is None

    def test_a_name_that_no_folder_can_have(self, roots: AllowedRoots) -> None:
        with pytest.raises(UnsupportedUriError):
            roots.presumed("/nul\0byte/a.png")


class TestRecorded:
    """What was resolved earlier is not resolved again: a link below a root was put there since."""

    def test_a_link_that_was_put_below_a_root_is_not_followed(self, tmp_path: Path) -> None:
        for name in ("in", "out"):
            (tmp_path / name).mkdir()
        (tmp_path / "in" / "job").symlink_to(tmp_path / "out")

        assert AllowedRoots((str(tmp_path / "in"),)).recorded(f"{tmp_path}/in/job") == f"{tmp_path}/in/job"

    def test_a_root_may_be_a_link_on_this_machine(self, tmp_path: Path) -> None:
        (tmp_path / "mounted").mkdir()
        (tmp_path / "data").symlink_to(tmp_path / "mounted")
        roots = AllowedRoots((str(tmp_path / "data"),))

        assert roots.recorded(f"{tmp_path}/data/job") == f"{tmp_path}/mounted/job"
        assert roots.recorded(f"{tmp_path}/mounted/job") == f"{tmp_path}/mounted/job"
        assert roots.recorded(f"{tmp_path}/data") == f"{tmp_path}/mounted"

    @pytest.mark.parametrize(
        ("root", "uri", "expected"),
        [
            ("/", "/a/b", "/a/b"),
            ("/data/", "/data/", "/data"),
            ("/data", "/data/x/../y", "/data/y"),
            ("s3://bucket/in/", "s3://bucket/in/job/", "s3://bucket/in/job"),
            ("s3://bucket", "s3://bucket/../x", "s3://bucket/../x"),
        ],
    )
    def test_what_lies_at_or_below_a_root(self, root: str, uri: str, expected: str) -> None:
        assert AllowedRoots((root,)).recorded(uri) == expected

    @pytest.mark.parametrize("uri", ["/data/../etc", "/data-2/x", "../data/x", "data/x", "s3://data/x", ""])
    def test_what_lies_elsewhere_is_refused(self, uri: str) -> None:
        with pytest.raises(OutsideAllowedRootsError):
            AllowedRoots(("/data",)).recorded(uri)


def test_a_root_that_can_be_listed_is_reachable(
    tmp_path: Path, s3_bucket: MockBucket, storage: Storage
) -> None:
    for root in (str(tmp_path), "s3://bucket", "s3://bucket/no/object/yet"):
        check_root(root, storage)


@pytest.mark.parametrize(
    ("root", "said"),
    [("{here}/none", "is not a folder on this machine"), ("s3://no-such-bucket", "no bucket no-such-bucket")],
)
def test_a_root_that_is_missing_is_not(
    root: str, said: str, tmp_path: Path, s3_bucket: MockBucket, storage: Storage
) -> None:
    with pytest.raises(ObjectMissingError, match=said):
        check_root(root.format(here=tmp_path), storage)
