"""Any line of a merged file is found near its mark: by the merge's index, or by one that is made again."""

from typing import Any

import pytest

from contract.errors import AccessDeniedError
from contract.storage import Storage
from contract.workspace import Workspace, open_workspace
from producer.results import line_index
from producer.results.line_index import Marker, mark_before, store_index

LINES = [b"x" * (n % 13) for n in range(60)]
DATA = b"".join(line + b"\n" for line in LINES)


@pytest.fixture(autouse=True)
def near_marks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given marks every 64 bytes."""
    monkeypatch.setattr(line_index, "MARK_BYTES", 64)


def check(workspace: Workspace, data: bytes, step: int = 1) -> None:
    """Expect each line at or shortly behind the mark before it."""
    lines = data.split(b"\n")
    for number in range(0, len(lines) + 2, step):
        line, start = mark_before(workspace, workspace.results, number, len(data))
        assert line <= number
        assert data[:start] == b"".join(one + b"\n" for one in lines[:line])
        wanted = sum(len(one) + 1 for one in lines[:number])
        assert wanted - start < 3 * 64 or number >= len(lines)


def test_lines_are_found_by_the_index_of_the_merge(workspace: Workspace) -> None:
    marker = Marker()
    for line in LINES:
        marker.add(len(line) + 1)
    workspace.store.replace(workspace.results, DATA)
    store_index(workspace, workspace.results, marker.index())

    check(workspace, DATA)


@pytest.mark.parametrize("last", [b"", b"a last line without a newline", b"y" * 500])
@pytest.mark.parametrize("kept", [None, b"", b"not json", b'{"size": 1, "marks": [[0, 50]]}'])
def test_an_index_that_is_missing_damaged_or_older_is_made_again_and_kept(
    kept: bytes | None, last: bytes, workspace: Workspace
) -> None:
    workspace.store.replace(workspace.results, DATA + last)
    if kept is not None:
        workspace.store.replace(workspace.line_index(workspace.results), kept)

    check(workspace, DATA + last)

    assert workspace.store.read(workspace.line_index(workspace.results), 10_000) != kept


def test_lines_are_found_where_no_index_can_be_kept(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace.store.replace(workspace.results, DATA)

    def refuse(*_: object) -> None:
        raise AccessDeniedError("read-only")

    monkeypatch.setattr(type(workspace.store), "replace", refuse)

    check(workspace, DATA)


def test_a_short_file_has_no_index(workspace: Workspace) -> None:
    workspace.store.replace(workspace.results, b"a\nb\n")

    assert mark_before(workspace, workspace.results, 1, 4) == (0, 0)
    assert not workspace.store.exists(workspace.line_index(workspace.results))


def test_lines_on_s3_are_found_too(s3_bucket: Any, storage: Storage) -> None:
    workspace = open_workspace(s3_bucket.uri("out"), storage)
    workspace.store.replace(workspace.results, DATA)

    check(workspace, DATA, step=20)

    assert workspace.store.exists(workspace.line_index(workspace.results))
