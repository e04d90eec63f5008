"""A command run in a stranger's folder: the Python files that lie there are not run."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TRACE_OCR = Path(sys.executable).with_name("trace-ocr")
"""The installed program: `python -m` would import from the current folder by itself."""

OTHERS = (
    "celery",
    "contract",
    "doctr",
    "kombu",
    "msgspec",
    "pypdfium2",
    "producer",
    "redis",
    "torch",
    "worker",
)


@pytest.fixture
def hostile_folder(tmp_path: Path) -> Path:
    """A folder with a module for each name that the product imports; each leaves a mark when it is run."""
    folder = tmp_path / "hostile"
    folder.mkdir()
    mark = f"import os\nos.close(os.open({str(tmp_path / 'marks')!r} + '/' + __name__, os.O_CREAT))\n"
    for name in (*sys.stdlib_module_names, *OTHERS):
        (folder / f"{name}.py").write_text(mark)
    for name in ("worker", "producer"):
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text(mark)
    (tmp_path / "marks").mkdir()
    return folder


@pytest.mark.usefixtures("demo_model")
def test_no_process_of_a_run_imports_from_the_current_folder(
    hostile_folder: Path, samples: Path, tmp_path: Path
) -> None:
    # given documents, whose pages are counted and rendered in child processes
    source = tmp_path / "pages"
    source.mkdir()
    for document in (*samples.glob("pages/*.pdf"), *samples.glob("pages/*.tif*")):
        (source / document.name).write_bytes(document.read_bytes())

    done = subprocess.run(
        [
            TRACE_OCR,
            "run",
            source,
            "-o",
            tmp_path / "out",
            "--kind=detection",
            "--detection-model=linknet_resnet18",
        ],
        cwd=hostile_folder,
        env=os.environ.copy(),
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )

    assert (done.returncode, [mark.name for mark in (tmp_path / "marks").iterdir()]) == (0, []), done.stderr
