"""One training run for either model: time-limited, seeded, can be paused and resumed."""

import ctypes
import json
import random
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch

from tools.training.errors import CheckpointError
from tools.training.schedule import AveragedModel, learning_rate

GRADIENT_NORM = 5.0  # clip: one unlucky batch must not undo a run of minutes
WEIGHT_DECAY = 1e-4
LOSS_WINDOW = 0.98  # of the logged mean loss: about 50 steps
PAUSE_POLL_SECONDS = 2.0
TRIM_STEPS = 20  # between returns of freed memory: each costs 0.05 s, and a step leaves some 10 MB behind


class Task(Protocol):
    """The model that a run trains."""

    architecture: str
    highest_rate: float
    full_difficulty_at: float

    def build(self) -> Any:
        """A new docTR model with random weights."""

    def loss(self, model: Any, rng: random.Random, progress: float) -> torch.Tensor:
        """docTR's loss on a fresh batch."""

    def validate(self, model: Any) -> dict[str, float]:
        """Figures on the held-out set."""


@dataclass(frozen=True)
class Options:
    """Where a run keeps its files, how long it may take, and what it starts from.

    `minutes` limit the whole run: a resumed run has the rest.
    """

    folder: Path
    minutes: float
    seed: int
    validate_every_minutes: float = 5.0
    start: Path | None = None
    pause_file: Path | None = None


class Session:
    """A run in progress: model, averaged model, optimizer, steps and seconds so far."""

    def __init__(self, task: Task, options: Options) -> None:
        torch.manual_seed(options.seed)
        self.task, self.options = task, options
        self.model = task.build().to(memory_format=torch.channels_last).train()
        if options.start:
            self.model.load_state_dict(torch.load(options.start, weights_only=True))
        self.average = AveragedModel(self.model)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), weight_decay=WEIGHT_DECAY)
        self.step, self.seconds, self.stopping = 0, 0.0, False
        self.checkpoint = checkpoint_path(options.folder, task.architecture)
        self.log = options.folder / f"{task.architecture}.log.jsonl"

    def run(self) -> None:
        """Train until the minutes are used up, from the last checkpoint if there is one."""
        self.options.folder.mkdir(parents=True, exist_ok=True)
        if self.checkpoint.exists():
            self.restore()
        reported, loss = self.seconds, 0.0
        while self.seconds < self.options.minutes * 60 and not self.stopping:
            self._wait_while_paused()
            began = time.monotonic()
            latest = self.train_step()
            loss = latest if loss == 0.0 else LOSS_WINDOW * loss + (1.0 - LOSS_WINDOW) * latest
            self.seconds += time.monotonic() - began
            if self.seconds - reported > self.options.validate_every_minutes * 60:
                self.report(loss)
                reported = self.seconds
        self.report(loss)

    def stop(self) -> None:
        """End the run after the current step and write its checkpoint."""
        self.stopping = True

    def train_step(self) -> float:
        """One batch; its loss."""
        progress = self.seconds / (self.options.minutes * 60)
        # Seeded by the step, so that a resumed run continues with images it has not seen.
        rng = random.Random(f"{self.options.seed}:{self.step}")
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(progress, self.task.highest_rate)
        loss = self.task.loss(self.model, rng, progress)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), GRADIENT_NORM)
        self.optimizer.step()
        self.step += 1
        self.average.update(self.model, self.step)
        if self.step % TRIM_STEPS == 0:
            return_freed_memory()
        return loss.item()

    def report(self, loss: float) -> None:
        """Validate the averaged model, append to the log, save the checkpoint."""
        figures = self.task.validate(self.average.model)
        line = {"step": self.step, "minutes": round(self.seconds / 60, 2), "loss": round(loss, 4)} | figures
        with self.log.open("a", encoding="utf-8") as log:
            log.write(json.dumps(line) + "\n")
        print(json.dumps(line), flush=True)
        self.save()

    def save(self) -> None:
        """Write the checkpoint atomically."""
        state = {
            "architecture": self.task.architecture,
            "model": self.model.state_dict(),
            "average": self.average.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
            "seed": self.options.seed,
        }
        draft = self.checkpoint.with_suffix(".tmp")
        torch.save(state, draft)
        draft.replace(self.checkpoint)

    def restore(self) -> None:
        """Continue from the checkpoint in the folder.

        Raises:
            CheckpointError: it belongs to another run
        """
        state = read_checkpoint(self.options.folder, self.task.architecture)
        if state["seed"] != self.options.seed:
            raise CheckpointError(
                f"{self.checkpoint} was trained with seed {state['seed']}, not {self.options.seed}: "
                "pass that seed, or another folder for a new run"
            )
        self.model.load_state_dict(state["model"])
        self.average.model.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.seconds = state["step"], state["seconds"]

    def _wait_while_paused(self) -> None:
        while self.options.pause_file and self.options.pause_file.exists() and not self.stopping:
            time.sleep(PAUSE_POLL_SECONDS)


def return_freed_memory() -> None:
    """Have glibc return freed memory to the system; no effect with other C libraries.

    Fonts and pages that stay in use are between a step's large tensors, and the heap does not shrink by
    itself: a detection run's process grew by 13 MB per step.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim:
        trim(0)


def checkpoint_path(folder: Path, architecture: str) -> Path:
    """The path of an architecture's checkpoint in a run's `folder`."""
    return folder / f"{architecture}.checkpoint.pt"


def read_checkpoint(folder: Path, architecture: str) -> dict[str, Any]:
    """The checkpoint of a run: `average` is shipped, `step` and `seconds` are its cost.

    Raises:
        CheckpointError: there is none
    """
    path = checkpoint_path(folder, architecture)
    if not path.is_file():
        raise CheckpointError(f"no checkpoint {path}: train {architecture} first, or pass its --folder")
    return torch.load(path, map_location="cpu", weights_only=True)
