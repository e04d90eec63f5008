"""Write a run's averaged weights into a model store: `python -m tools.training.export detection --help`."""

import argparse
import sys
from pathlib import Path

from tools.training.errors import TrainingError
from tools.training.session import read_checkpoint
from tools.training.store import write_model
from tools.training.train import BUNDLED


def parser() -> argparse.ArgumentParser:
    """The command line."""
    line = argparse.ArgumentParser(description=__doc__)
    line.add_argument("model", help="recognition, detection, or the name of one of docTR's architectures")
    line.add_argument("--folder", type=Path, default=Path(".training"), help="the run's checkpoints")
    line.add_argument("--store", type=Path, default=Path("samples/weights"))
    line.add_argument("--source", required=True, help="sentence for the card on how the model was trained")
    line.add_argument("--recipe", required=True, help="commit of tools/training that trained it")
    return line


def main() -> int:
    """Run the command line; 2 if there is no usable checkpoint."""
    given = parser().parse_args()
    architecture = BUNDLED.get(given.model, given.model)
    try:
        checkpoint = read_checkpoint(given.folder, architecture)
        path = write_model(given.store, architecture, checkpoint["average"], given.source, given.recipe)
    except TrainingError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB, {checkpoint['step']} steps")
    return 0


if __name__ == "__main__":
    sys.exit(main())
