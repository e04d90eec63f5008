"""One more of everything, where CONTRIBUTING says, in a copy of the packages; then a job that uses it all."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGES = ("contract", "producer", "worker")

KIND = """
import msgspec
from pydantic import Field

from contract.kinds.base import Excerpt, Kind, Parameters


class BrightnessParameters(Parameters):
    brightness_batch_size: int = Field(8, ge=1, le=64, description="crops measured at once")


class BrightnessLine(msgspec.Struct, frozen=True, omit_defaults=True):
    id: str
    name: str
    brightness: int
    label: str | None = None
    note: str | None = None


KIND = Kind(
    name="brightness",
    help="crops to how bright they are",
    parameters=BrightnessParameters,
    line=BrightnessLine,
    unit="crop",
    chunk_size=4,
    batch="brightness_batch_size",
    tuning=frozenset({"brightness_batch_size"}),
    excerpt=lambda line: Excerpt(str(line.brightness), None),
)
"""

PIPELINE = """
import numpy as np

from contract.errors import ErrorCode, ItemError
from contract.kinds.brightness import BrightnessLine
from worker.images.files import Decoding
from worker.pipeline.ahead import ahead
from worker.pipeline.batched import Block, batched
from worker.pipeline.run import name_of


class Meter:
    sample, parameter, fitting_batch_size = "crop", "kind", None

    def read(self, batch):
        return [int(sample.mean()) for sample in batch]


class BrightnessPipeline:
    decoding = Decoding(pages=False)
    models = ()

    def __init__(self, parameters, models):
        self.batch_size = self.prefetch = parameters.brightness_batch_size

    def run(self, items, run):
        def prepared(item):
            image = run.decoded(item, run.fetched(item))
            if isinstance(image, ItemError):
                return Block((item, image), [], [0])
            return Block((item, None), np.full((1, 3, 1, 1), image.pixels.mean(), np.uint8), [1])

        ready = ahead(run.pool, prepared, items, run.window)
        code = ErrorCode.RECOGNITION_FAILED
        measured = batched(ready, Meter(), run, size=self.batch_size, stage="measure", code=code, last=True)
        for (item, error), levels in measured:
            yield run.error_line(item, error) if error else BrightnessLine(item.id, name_of(item), levels[0])


PIPELINE = BrightnessPipeline
"""

SOURCE = """
from pathlib import Path

from contract.job import Source
from contract.records import Item


class Listed:
    named = "a list (.list)"

    def match(self, text):
        if not text.endswith(".list"):
            return None
        return Source(type="listed", uri=str(Path(text).resolve()), confined=False)

    def root(self, uri):
        return str(Path(uri).parent)

    def items(self, uri, context):
        for line in Path(uri).read_text().splitlines():
            yield Item(id=Path(line).name, uri=line)


SOURCE = Listed()
"""

FORMAT = """
from contract.region import box_of
from producer.regions.base import PageRegions, WithoutText


class Lines(WithoutText):
    extensions, levels, has_categories = frozenset({".txt"}), (), False

    def pages(self, file, options):
        for line in file.read().decode().splitlines():
            image, *box = line.split()
            yield PageRegions(image, iter([box_of(map(float, box), name="only")]))


FORMAT = Lines()
"""

SINK = """
import contextlib
import json


class Levels:
    kinds = frozenset({"brightness"})

    def check(self, job):
        pass

    @contextlib.contextmanager
    def open(self, context):
        (path,) = self.paths(context.job, context.workspace)
        with context.workspace.store.writer(path) as target:
            def write(merged):
                if not merged.failure:
                    line = json.loads(merged.line)
                    target.write(f"{line['id']},{line['brightness']}\\n".encode())

            yield write

    def paths(self, job, workspace):
        yield workspace.path("levels.txt")


SINK = Levels()
"""

BACKEND = '''
import contextlib
import os

from contract.storage.local import LocalStore


class Shelf:
    remote = False
    read_only = False

    def absolute(self, uri):
        return "shelf://" + os.path.realpath(uri.removeprefix("shelf://"))

    def store(self, settings, on_request):
        return ShelfStore()


class ShelfStore:
    """Files of this machine, under URIs of another scheme."""

    def objects(self, folder):
        for path, size in LocalStore().objects(folder.removeprefix("shelf://")):
            yield "shelf://" + path, size

    def __getattr__(self, name):
        method = getattr(LocalStore(), name)
        return lambda uri, *rest, **named: method(uri.removeprefix("shelf://"), *rest, **named)


BACKEND = Shelf()
'''

PARAMETER = """
    upper_case: bool = Field(False, description="turn what is read into capitals")
"""


@dataclass(frozen=True)
class Addition:
    """What is written, and where one line each is changed: from what, to what."""

    files: dict[str, str]
    lines: dict[str, tuple[str, str]]


ADDITIONS = {
    "kind": Addition(
        {"contract/kinds/brightness.py": KIND, "worker/kinds/brightness.py": PIPELINE},
        {
            "contract/kinds/__init__.py": ('"compare")', '"compare", "brightness")'),
            "worker/kinds/__init__.py": ('"compare")', '"compare", "brightness")'),
        },
    ),
    "source": Addition(
        {"producer/sources/listed.py": SOURCE},
        {"producer/sources/__init__.py": ('("manifest", ', '("listed", "manifest", ')},
    ),
    "result format": Addition(
        {"producer/results/sinks/levels.py": SINK},
        {"producer/results/sinks/__init__.py": ('"page", WRITE_BACK)', '"page", "levels", WRITE_BACK)')},
    ),
    "format of regions": Addition(
        {"producer/regions/lines.py": FORMAT},
        {"producer/regions/__init__.py": ('"template"', '"template", "lines"')},
    ),
    "storage": Addition(
        {"contract/storage/shelf.py": BACKEND},
        {"contract/storage/__init__.py": ('"az", "https")', '"az", "https", "shelf")')},
    ),
    "parameter": Addition(
        {},
        {
            "contract/kinds/recognition.py": ("\n\n\nKIND = ", f"{PARAMETER}\n\nKIND = "),
            "worker/kinds/recognition.py": (
                "return RecognitionPipeline(make_readers(",
                "assert parameters.upper_case in (True, False)\n    return RecognitionPipeline(make_readers(",
            ),
        },
    ),
}


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the packages with one more of everything."""
    folder = tmp_path_factory.mktemp("packages")
    for package in PACKAGES:
        shutil.copytree(REPOSITORY / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    for addition in ADDITIONS.values():
        for name, text in addition.files.items():
            (folder / name).write_text(text)
        for name, (before, after) in addition.lines.items():
            text = (folder / name).read_text()
            assert text.count(before) == 1, f"{before!r} in {name}"
            (folder / name).write_text(text.replace(before, after))
    return folder


def trace_ocr(packages: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run `trace-ocr` from the copy."""
    return subprocess.run(
        [sys.executable, "-P", "-m", "producer.cli.main", *arguments],
        env={**os.environ, "PYTHONPATH": str(packages)},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


@pytest.mark.parametrize(
    ("what", "files", "lines"),
    [
        ("kind", 2, 2),
        ("source", 1, 1),
        ("result format", 1, 1),
        ("format of regions", 1, 1),
        ("storage", 1, 1),
        ("parameter", 0, 2),
    ],
)
def test_each_is_as_many_files_and_lines_as_contributing_says(what: str, files: int, lines: int) -> None:
    assert (len(ADDITIONS[what].files), len(ADDITIONS[what].lines)) == (files, lines)


def test_a_job_of_the_new_kind_goes_from_the_new_source_to_the_new_format_on_the_new_storage(
    packages: Path, samples: Path, tmp_path: Path
) -> None:
    crops = sorted((samples / "crops").iterdir())[:5]
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    (tmp_path / "crops.list").write_text("".join(f"{crop}\n" for crop in (*crops, broken)))
    out = f"shelf://{tmp_path}/out"

    done = trace_ocr(
        packages, "run", f"{tmp_path}/crops.list", "-o", out, "--kind", "brightness", "--exports", "levels",
        "--results", "parquet,csv", "--brightness-batch-size", "2",
        "--allowed-roots", f"{samples},{tmp_path}", "--devices", "cpu", "--json",
    )  # fmt: skip

    assert done.returncode == 1, done.stderr
    summary = json.loads(done.stdout)
    assert (summary["kind"], summary["request_counts"]["completed"], summary["batches"]) == (
        "brightness",
        5,
        3,
    )
    assert summary["error_codes"] == {"not_an_image": 1}
    results = [json.loads(line) for line in (tmp_path / "out/results.jsonl").read_text().splitlines()]
    assert [line["id"] for line in results] == [crop.name for crop in crops]
    assert (tmp_path / "out/levels.txt").read_text().splitlines() == [
        f"{line['id']},{line['brightness']}" for line in results
    ]
    rows = pq.read_table(tmp_path / "out/results.parquet").to_pylist()
    assert [(row["id"], row["brightness"]) for row in rows] == [
        (line["id"], line["brightness"]) for line in results
    ]
    assert (tmp_path / "out/results.csv").read_text().splitlines()[0] == "id,name,brightness,label,note"


def test_a_file_of_the_new_format_describes_items(packages: Path, tmp_path: Path) -> None:
    (tmp_path / "lines.txt").write_text("a.png 1 2 30 40\n")
    program = f"""
from contract.job import Source
from contract.settings import Settings
from contract.storage import Storage
from producer.sources.regions import identify_regions, list_regions

source = Source(type="folder", uri="/scans", regions=identify_regions("lines:{tmp_path}/lines.txt"))
print(*(item.id for item in list_regions(source, Storage(Settings()), str, list)))
"""
    done = subprocess.run(
        [sys.executable, "-P", "-c", program],
        env={**os.environ, "PYTHONPATH": str(packages)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )

    assert done.stdout == "a.png#r=only\n", done.stderr


def test_the_new_parameter_is_a_flag_with_its_variable(packages: Path) -> None:
    shown = trace_ocr(packages, "run", "--help").stdout

    assert "--upper-case / --no-upper-case" in shown
    assert "TRACE_OCR_UPPER_CASE" in shown


def test_the_new_kind_has_a_route_whose_query_and_answer_are_described(
    packages: Path, tmp_path: Path
) -> None:
    program = """
import json
from contract.settings import Settings
from producer.api.app import make_app
from producer.api.security.keys import Keyring
from producer.api.services import Services

settings = Settings(redis_url="redis://unused", allowed_roots=("/tmp",))
described = make_app(Services(settings, Keyring((), required=False))).openapi()
route = described["paths"]["/brightness/"]["post"]
answer, _ = route["responses"]["200"]["content"]["application/json"]["schema"]["items"]["anyOf"]
print(json.dumps([[one["name"] for one in route["parameters"]], sorted(answer["properties"])]))
"""
    done = subprocess.run(
        [sys.executable, "-P", "-c", program],
        env={**os.environ, "PYTHONPATH": str(packages)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )

    assert json.loads(done.stdout or "null") == [
        ["brightness_batch_size"],
        ["brightness", "name", "note"],
    ], done.stderr
