"""A folder with every bad input there is: the job completes, and each file ends where it belongs."""

import io
import json
import os
import struct
import subprocess
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

Run = Callable[..., "subprocess.CompletedProcess[str]"]

MAX_PIXELS = 200_000
MAX_BYTES = 400_000

CROP = "0001.jpg"
"""The sample that all good files hold."""


def encoded(image: Image.Image, file_format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def bomb() -> bytes:
    """Return a PNG of under 100 bytes that declares 3.6 thousand million pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    pixels = zlib.compress(bytes(64))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def rotated(image: Image.Image) -> bytes:
    """Return the image stored lying on its side, with the EXIF note that turns it upright."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(image.transpose(Image.Transpose.ROTATE_90), "PNG", exif=exif.tobytes())


def good_files(crop: Image.Image) -> dict[str, bytes]:
    """Return files that must be read, as bytes by name."""
    png = encoded(crop, "PNG")
    grey = crop.convert("L")
    blank = Image.new("RGB", crop.size, "white")
    return {
        "plain.png": png,
        "with space.png": png,
        "Größe 图像 🙂.png": png,
        "two\nlines.png": png,
        "100%41.png": png,
        "-rf.png": png,
        "UPPER.PNG": png,
        "below/deep down/plain.png": png,
        "wrong extension.jpg": png,
        "alpha.png": encoded(crop.convert("RGBA"), "PNG"),
        "grey.png": encoded(grey, "PNG"),
        "grey16.tiff": encoded(Image.merge("L", [grey]).convert("I").point(lambda v: v * 257), "TIFF"),
        "palette.png": encoded(crop.quantize(256), "PNG"),
        "cmyk.tif": encoded(crop.convert("CMYK"), "TIFF"),
        "turned.png": rotated(crop),
        "bitmap.bmp": encoded(crop, "BMP"),
        "web.webp": encoded(crop, "WEBP", lossless=True),
        "animated.webp": encoded(crop, "WEBP", lossless=True, save_all=True, append_images=[blank]),
        "pages.tif": encoded(crop, "TIFF", save_all=True, append_images=[blank]),
    }


def bad_files(crop: Image.Image) -> dict[str, tuple[bytes, str]]:
    """Return files that must not be read, as (bytes, expected code) by name."""
    page = crop.resize((400, 400))
    return {
        "zero bytes.png": (b"", "empty_file"),
        "truncated.png": (encoded(crop, "PNG")[:-200], "truncated"),
        "truncated.jpg": (encoded(crop, "JPEG")[:-100], "truncated"),
        "truncated.tif": (encoded(crop, "TIFF")[:-500], "truncated"),
        "truncated.webp": (encoded(crop, "WEBP")[:-50], "truncated"),
        "text.png": (b"Dear customer, ...\n" * 9, "not_an_image"),
        "page.jpg": (b"<html>404</html>", "not_an_image"),
        "program.tif": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n", "not_an_image"),
        "bomb.png": (bomb(), "too_many_pixels"),
        "over the limit.png": (encoded(Image.new("1", (501, 400)), "PNG"), "too_many_pixels"),
        "over the size.bmp": (encoded(page, "BMP"), "too_many_bytes"),
        "one pixel.png": (encoded(Image.new("RGB", (1, 1)), "PNG"), "too_small"),
        "hair.png": (encoded(Image.new("RGB", (300, 1)), "PNG"), "too_small"),
        "tape.png": (encoded(Image.new("RGB", (1200, 2)), "PNG"), "extreme_aspect"),
        "tower.png": (encoded(Image.new("RGB", (2, 1200)), "PNG"), "extreme_aspect"),
        "-bad\n%20 ü.png": (b"?", "not_an_image"),
    }


PASSED_OVER = {".hidden.png": b"", ".folder/in it.png": b"", "notes.txt": b"not for us", "no extension": b""}
PASSED_OVER_COUNTS = {"hidden": 2, "linked_folder": 1, "not_a_file": 1, "other_extension": 2}
"""Those above, a link to a folder and a pipe."""

STRAY, STRAY_ID = "stray \udcff.png", "stray \\xff.png"
"""A name with a byte that is no UTF-8, and the id that JSON can hold of it; its file cannot be named back."""

LINKS = {
    "link out.png": ("../outside.png", "outside_allowed_roots"),
    "link to nowhere.png": ("gone.png", "not_found"),
    "link to itself.png": ("link to itself.png", "not_found"),
}


def write(folder: Path, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def in_source_order(names: list[str]) -> list[str]:
    """Folders stand where their name with its slash does: plain order of the whole id's bytes."""
    return sorted(names, key=str.encode)


def jsonl(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


@pytest.fixture
def crop(samples: Path) -> Image.Image:
    with Image.open(samples / "crops" / CROP) as image:
        return image.convert("RGB")


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given limits that small files reach."""
    monkeypatch.setenv("TRACE_OCR_MAX_PIXELS", str(MAX_PIXELS))
    monkeypatch.setenv("TRACE_OCR_MAX_BYTES", str(MAX_BYTES))


@pytest.mark.usefixtures("demo_model", "limits")
def test_every_file_ends_where_it_belongs(
    trace_ocr: Run, tmp_path: Path, samples: Path, crop: Image.Image
) -> None:
    # given a folder of good files, bad ones, links and what is none of our business
    good, bad = good_files(crop), bad_files(crop)
    folder, out = tmp_path / "crops", tmp_path / "out"
    write(folder, good | {name: data for name, (data, _) in bad.items()} | PASSED_OVER)
    write(tmp_path, {"outside.png": encoded(crop, "PNG")})
    for name, (target, _) in LINKS.items():
        (folder / name).symlink_to(target)
    (folder / "linked folder").symlink_to(tmp_path)
    os.mkfifo(folder / "pipe.png")
    write(folder, {STRAY: encoded(crop, "PNG")})
    codes = {name: code for name, (_, code) in (bad | LINKS).items()} | {STRAY_ID: "not_found"}

    # when
    done = trace_ocr("run", "crops", "-o", "out", "--chunk-size", "10")

    # then the job completes, and its exit status says that some items failed
    assert done.returncode == 1, done.stderr
    assert (out / "_SUCCESS").exists()

    # and every good file has its line, in source order, with the text that the crop holds
    text = json.loads((samples / "labels.json").read_text(encoding="utf-8"))[CROP]
    results = jsonl(out / "results.jsonl")
    assert [line["id"] for line in results] == in_source_order(list(good))
    assert {line["id"]: line["value"] for line in results} == dict.fromkeys(good, text)
    assert [line["name"] for line in results] == [line["id"].rpartition("/")[2] for line in results]

    # and what was read in part says so
    notes = {line["id"]: line["note"] for line in results if "note" in line}
    assert notes == dict.fromkeys(("animated.webp", "pages.tif"), "first of 2 frames")

    # and every bad one has one error line, in source order, with its code and something to read
    errors = jsonl(out / "errors.jsonl")
    assert [line["id"] for line in errors] == in_source_order(list(codes))
    assert {line["id"]: line["error"]["code"] for line in errors} == codes
    assert {line["attempts"] for line in errors} == {1}
    assert all(len(line["error"]["message"]) > 20 for line in errors)

    # and the summary counts them all
    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    assert summary["request_counts"] == {
        "total": len(good) + len(codes),
        "completed": len(good),
        "failed": len(codes),
    }
    assert summary["error_codes"] == {code: list(codes.values()).count(code) for code in codes.values()}
    assert summary["passed_over"] == PASSED_OVER_COUNTS
    assert summary["read_in_part"] == 2
