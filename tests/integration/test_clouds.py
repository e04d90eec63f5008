"""`trace-ocr run` on what lies in Google Cloud Storage, in Azure Blob Storage and on a web server."""

import json
from pathlib import Path
from typing import Any

import pytest

from contract.settings import Settings
from contract.storage import Storage, join
from tests.integration.processes import Run
from tests.web_server import serving

pytestmark = pytest.mark.usefixtures("demo_model")


def read(data: bytes) -> list[tuple[Any, Any]]:
    """Return the id, the text and the confidence of each line."""
    found = map(json.loads, data.splitlines())
    return [(line["id"], (line["value"], line["confidence"])) for line in found]


def test_jobs_of_clouds_and_of_the_web_give_what_a_folder_gives(
    trace_ocr: Run,
    few_crops: Path,
    gcs_bucket: str,
    azure_container: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # given the same crops in a folder and in all three
    storage, crops = Storage(Settings()), sorted(few_crops.iterdir())
    for root in (gcs_bucket, azure_container):
        for path in crops:
            storage.at(root).replace(join(root, "crops", path.name), path.read_bytes())
    local = trace_ocr("run", str(few_crops), "-o", "out")
    expected = read((tmp_path / "out/results.jsonl").read_bytes())
    assert (local.returncode, len(expected)) == (0, len(crops)), local.stderr

    with serving(tmp_path) as web:
        web.files = {f"/crops/{path.name}": path.read_bytes() for path in crops}
        roots = {"gs": gcs_bucket, "az": azure_container, "https": web.url}
        rows = [f"{path.name},{root}/crops/{path.name}\n" for root in roots.values() for path in crops]
        numbered = [f"{number}-{row}" for number, row in enumerate(rows)]
        manifest = join(azure_container, "crops.csv")
        storage.at(manifest).replace(manifest, ("id,uri\n" + "".join(numbered)).encode())
        monkeypatch.setenv("TRACE_OCR_ALLOWED_ROOTS", ",".join(f"{root}/" for root in roots.values()))
        monkeypatch.setenv("TRACE_OCR_HTTPS_NETWORKS", "127.0.0.0/8,::1/128")
        monkeypatch.setenv("SSL_CERT_FILE", str(web.certificate))

        prefix = trace_ocr("run", f"{gcs_bucket}/crops/", "-o", f"{gcs_bucket}/out", "--chunk-size", "2")
        listed = trace_ocr("run", manifest, "-o", f"{azure_container}/out", "--chunk-size", "2")

    assert prefix.returncode == 0, prefix.stderr
    assert listed.returncode == 0, listed.stderr
    written = [
        read(storage.at(root).read(join(root, "out/results.jsonl"), 1 << 20))
        for root in (gcs_bucket, azure_container)
    ]
    assert written[0] == expected
    assert [line for _, line in written[1]] == [line for _, line in expected] * 3
    assert all(storage.at(root).exists(join(root, "out/_SUCCESS")) for root in (gcs_bucket, azure_container))
