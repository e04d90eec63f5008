"""`trace-ocr models check`: load one model as a worker does, and read one image with it."""

import io
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import msgspec
from PIL import Image, ImageDraw, ImageFont

from contract.architectures import task_of
from contract.errors import TraceOcrError, UsageError
from contract.lines import Line
from contract.logs import configure_logging
from contract.model_store import ModelStore
from contract.printable import printable, printable_json
from contract.records import Item
from contract.redaction import redacted
from contract.settings import Settings, load_settings
from contract.storage import Storage
from worker.app.launcher import child_environment, devices_of
from worker.app.making import make_models
from worker.images.decode import decode_crop, decode_image
from worker.kinds import make_pipeline
from worker.monitoring.device import Device
from worker.monitoring.metrics import WorkerMetrics
from worker.pipeline.run import ChunkRun, Pipeline

DRAWN = "Trace2026"
"""Text of the image that is drawn if none is given."""

LETTERS = 40
"""Height of its letters in pixels."""


def check_model(name: str, data: bytes, settings: Settings) -> dict[str, Any]:
    """Return a model's identity, the seconds that loading took, and its line for an image.

    Args:
        name: an architecture, or a model in the store
        data: an image file: a crop for a recognition model, a page for a detection model

    Raises:
        UsageError: there is no such recognition or detection model
        ModelUnavailableError, UnfitWorkerError: as `ModelPool.get`
    """
    storage = Storage(settings)
    task = _task(name, ModelStore(settings.model_store, storage) if settings.model_store else None)
    parameters = settings.parameters_of(task, {f"{task}_model": name})
    started = time.perf_counter()
    pipeline = make_pipeline(
        task, parameters, make_models(settings, storage, WorkerMetrics(Device(settings.devices)))
    )
    seconds = round(time.perf_counter() - started, 3)
    return {"model": pipeline.models[0], "load_seconds": seconds, "line": _line(pipeline, data, settings)}


def _task(name: str, store: ModelStore | None) -> str:
    card = store.card(name) if store else None
    task = task_of(card.architecture if card else name)
    if task not in ("recognition", "detection"):
        raise UsageError(f"{name} is no recognition or detection model: see trace-ocr models list")
    return task


def _line(pipeline: Pipeline, data: bytes, settings: Settings) -> Line:
    decode = decode_image if pipeline.decoding.pages else decode_crop
    with ThreadPoolExecutor(1) as pool:
        run = ChunkRun(
            fetch=lambda _: data,
            decode=lambda *_: decode(data, settings.max_pixels),
            attempt=1,
            pool=pool,
            window=1,
            stop=Event(),
        )
        return next(iter(pipeline.run([Item(id="image", uri="image")], run)))


def drawn_image() -> bytes:
    """Return a PNG with DRAWN in black on white."""
    font = ImageFont.load_default(LETTERS)
    left, top, right, bottom = (round(edge) for edge in font.getbbox(DRAWN))
    image = Image.new("RGB", (right - left + LETTERS // 2, bottom - top + LETTERS // 2), "white")
    ImageDraw.Draw(image).text((LETTERS // 4 - left, LETTERS // 4 - top), DRAWN, "black", font)
    target = io.BytesIO()
    image.save(target, "PNG")
    return target.getvalue()


def main(name: str, image: str = "") -> None:
    """Print what `check_model` returns as JSON; exit with the status of an error."""
    try:
        settings = load_settings()
        configure_logging(settings)
        device = devices_of(settings.devices, os.environ)[0]
        # Before torch asks CUDA for its devices.
        os.environ.update(child_environment(device, os.environ))
        settings = settings.model_copy(update={"devices": device})
        found = check_model(name, _read(image) if image else drawn_image(), settings)
    except TraceOcrError as error:
        sys.stderr.write(f"error: {printable(redacted(str(error)))}\n")
        sys.exit(error.exit_code)
    sys.stdout.write(printable_json(msgspec.json.format(msgspec.json.encode(found)).decode()) + "\n")


def _read(image: str) -> bytes:
    try:
        return Path(image).read_bytes()
    except OSError as error:
        raise UsageError(f"the image {image} cannot be read: {error.strerror}") from error


if __name__ == "__main__":
    main(*sys.argv[1:])
