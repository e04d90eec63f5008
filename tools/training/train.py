"""Train one of the models, or continue a run: `python -m tools.training.train detection --minutes 90`."""

import argparse
import signal
import sys
from pathlib import Path

import torch

from tools.training.architectures import task_of
from tools.training.crops import CropRenderer
from tools.training.detection import DetectionTask
from tools.training.errors import TrainingError
from tools.training.pages import PageRenderer
from tools.training.recognition import RecognitionTask
from tools.training.session import Options, Session, Task
from tools.training.sources import find_fonts, find_words
from tools.training.text import Writer

BUNDLED = {"recognition": "crnn_mobilenet_v3_small", "detection": "linknet_resnet18"}


def make_task(architecture: str) -> Task:
    """The task of an architecture, on this machine's fonts and word lists."""
    fonts, writer = find_fonts(), Writer(find_words())
    if task_of(architecture) == "recognition":
        return RecognitionTask(architecture, writer, CropRenderer(fonts.train), CropRenderer(fonts.held_out))
    return DetectionTask(
        architecture, PageRenderer(writer, fonts.train), PageRenderer(writer, fonts.held_out)
    )


def parser() -> argparse.ArgumentParser:
    """The command line."""
    line = argparse.ArgumentParser(description=__doc__)
    line.add_argument("model", help="recognition, detection, or the name of one of docTR's architectures")
    line.add_argument(
        "--minutes", type=float, required=True, help="time limit of the whole run, resumed or not"
    )
    line.add_argument("--folder", type=Path, default=Path(".training"), help="checkpoints and logs")
    line.add_argument("--start", type=Path, help="weights to start from, at full difficulty; default: random")
    line.add_argument("--seed", type=int, default=1)
    line.add_argument("--threads", type=int, default=2)
    line.add_argument("--pause-file", type=Path, help="the run waits while this file exists")
    line.add_argument("--validate-every", type=float, default=5.0, metavar="MINUTES")
    return line


def main() -> int:
    """Run the command line; 2 if a source or a checkpoint is missing."""
    given = parser().parse_args()
    torch.set_num_threads(given.threads)
    try:
        task = make_task(BUNDLED.get(given.model, given.model))
        if given.start:
            task.full_difficulty_at = 0.0
        options = Options(
            given.folder, given.minutes, given.seed, given.validate_every, given.start, given.pause_file
        )
        session = Session(task, options)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda _number, _frame: session.stop())
        session.run()
    except TrainingError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
