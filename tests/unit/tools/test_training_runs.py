"""Runs, schedules, sources and cards of the training recipe, on a model of four weights."""

import json
import random

import pytest
import torch

from tools.training.architectures import build, task_of
from tools.training.errors import CheckpointError, MissingSourceError, StoreError, UnknownArchitectureError
from tools.training.evaluate import Figure, write_measured
from tools.training.schedule import AveragedModel, difficulty, learning_rate
from tools.training.session import Options, Session, read_checkpoint
from tools.training.sources import HELD_OUT, VOCAB, find_fonts, find_words
from tools.training.store import Stored, halved, read_model, sha256_of, write_model


class LineTask:
    """Fits a line: enough of a task to run a session in milliseconds."""

    architecture = "line"
    highest_rate = 0.1
    full_difficulty_at = 0.5

    def build(self):
        return torch.nn.Sequential(torch.nn.Conv2d(1, 1, 1))

    def loss(self, model, rng: random.Random, progress):
        x = torch.full((1, 1, 1, 1), rng.uniform(-1, 1))
        return ((model(x) - 3 * x) ** 2).mean()

    def validate(self, model):
        return {"weight": float(model[0].weight.detach())}


def options(folder, minutes=0.003, **others):
    return Options(folder=folder, minutes=minutes, seed=1, **others)


def test_a_run_ends_in_its_box_logs_and_leaves_a_checkpoint(tmp_path, capsys):
    session = Session(LineTask(), options(tmp_path))
    session.run()
    logged = [json.loads(line) for line in (tmp_path / "line.log.jsonl").read_text().splitlines()]
    assert logged[-1]["step"] == session.step > 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == logged[-1]
    assert read_checkpoint(tmp_path, "line")["step"] == session.step


def test_a_run_goes_on_from_its_checkpoint(tmp_path):
    first = Session(LineTask(), options(tmp_path))
    first.run()
    second = Session(LineTask(), options(tmp_path, minutes=0.006))
    second.run()
    assert second.step > first.step
    assert second.seconds >= 0.006 * 60


def test_a_finished_run_trains_no_further(tmp_path):
    Session(LineTask(), options(tmp_path)).run()
    again = Session(LineTask(), options(tmp_path))
    again.run()
    assert again.step == read_checkpoint(tmp_path, "line")["step"]


def test_another_seed_is_refused(tmp_path):
    Session(LineTask(), options(tmp_path)).run()
    other = Options(folder=tmp_path, minutes=1.0, seed=2)
    with pytest.raises(CheckpointError, match="seed 1, not 2"):
        Session(LineTask(), other).run()


def test_a_paused_run_waits_for_the_file_to_go(tmp_path, monkeypatch):
    pause = tmp_path / "PAUSE"
    pause.touch()
    slept = []

    def sleep(seconds):
        slept.append(seconds)
        pause.unlink()

    monkeypatch.setattr("tools.training.session.time.sleep", sleep)
    Session(LineTask(), options(tmp_path, pause_file=pause)).run()
    assert len(slept) == 1


def test_a_stopped_run_leaves_a_checkpoint_of_its_last_step(tmp_path):
    task = LineTask()
    session = Session(task, options(tmp_path, minutes=60.0))
    task.loss = lambda model, rng, progress: (session.stop(), LineTask.loss(task, model, rng, progress))[1]
    session.run()
    assert read_checkpoint(tmp_path, "line")["step"] == session.step == 1


def test_a_missing_checkpoint_says_what_to_do(tmp_path):
    with pytest.raises(CheckpointError, match="train line first"):
        read_checkpoint(tmp_path, "line")


def test_the_rate_rises_shortly_and_falls_to_nothing():
    rates = [learning_rate(step / 100, 1e-3) for step in range(101)]
    assert rates[0] < 1e-4
    assert max(rates) == pytest.approx(1e-3, rel=0.01)
    assert rates.index(max(rates)) <= 3
    assert rates[-1] < 1e-5


def test_difficulty_rises_evenly_and_stays():
    assert [difficulty(p, 0.5) for p in (0.0, 0.25, 0.5, 0.9)] == [0.0, 0.5, 1.0, 1.0]
    assert difficulty(0.0, 0.0) == 1.0


def test_the_average_follows_quickly_at_first():
    model = LineTask().build()
    average = AveragedModel(model)
    torch.nn.init.constant_(model[0].weight, 2.0)
    for step in range(1, 40):
        average.update(model, step)
    assert average.model[0].weight.item() == pytest.approx(2.0, abs=0.01)


def test_no_fonts_and_no_words_name_the_packages(tmp_path):
    with pytest.raises(MissingSourceError, match=r"apt-get install .*fonts-dejavu"):
        find_fonts([tmp_path])
    with pytest.raises(MissingSourceError, match=r"apt-get install .*wamerican-large"):
        find_words(tmp_path)


def test_held_out_fonts_are_not_trained_on(tmp_path):
    for name in ["Face.ttf", "NotoSansThai-Regular.ttf", "Symbola.ttf", *HELD_OUT]:
        (tmp_path / name).touch()
    fonts = find_fonts([tmp_path])
    assert [path.name for path in fonts.held_out.every] == list(HELD_OUT)
    assert [path.name for path in fonts.train.every] == ["Face.ttf"]


def test_a_missing_held_out_font_is_named(tmp_path):
    for name in ["Face.ttf", *HELD_OUT[1:]]:
        (tmp_path / name).touch()
    with pytest.raises(MissingSourceError, match=f"no {HELD_OUT[0]} in"):
        find_fonts([tmp_path])


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A store with an untrained recognition model."""
    store = tmp_path_factory.mktemp("store")
    state = build("crnn_mobilenet_v3_small").state_dict()
    write_model(store, "crnn_mobilenet_v3_small", state, source="a test", recipe="0123abc")
    return store


def test_a_card_describes_its_weights(exported):
    card = json.loads((exported / "crnn_mobilenet_v3_small.json").read_text())
    assert card["sha256"] == sha256_of(exported / "crnn_mobilenet_v3_small.pt")
    assert (card["task"], card["vocab"], card["recipe"]) == ("recognition", VOCAB, "0123abc")
    assert card["measured"] == {}


def test_a_stored_model_loads_again_and_a_missing_one_is_none(exported):
    stored = read_model(exported, "recognition")
    assert not stored.model.training
    assert read_model(exported, "detection") is None


def test_exchanged_weights_are_refused(exported, tmp_path):
    for path in exported.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    with (tmp_path / "crnn_mobilenet_v3_small.pt").open("ab") as weights:
        weights.write(b"x")
    with pytest.raises(StoreError, match="sha256"):
        read_model(tmp_path, "recognition")


def test_measured_figures_go_to_the_cards_they_belong_to(tmp_path):
    card = {"architecture": "crnn", "task": "recognition", "measured": {}}
    figures = [
        Figure("recognition", "crops", 0.99321, aim=0.99),
        Figure("detection", "recall", 0.5),
        Figure("both", "end to end", 0.9),
    ]
    write_measured(tmp_path, figures, {"recognition": Stored(None, card), "detection": None})
    assert json.loads((tmp_path / "crnn.json").read_text())["measured"] == {"crops": 0.993, "end to end": 0.9}


def test_an_aim_is_missed_below_it_only():
    assert Figure("detection", "recall", 0.949, aim=0.95).missed
    assert not Figure("detection", "recall", 0.95, aim=0.95).missed
    assert not Figure("detection", "recall", 0.1).missed


def test_a_weight_beyond_float16_is_refused():
    assert halved({"w": torch.ones(2), "n": torch.tensor(3)})["n"].dtype == torch.int64
    with pytest.raises(CheckpointError, match="not finite"):
        halved({"w": torch.tensor([1e6])})


def test_an_architecture_doctr_lacks_is_named():
    with pytest.raises(UnknownArchitectureError, match="crnn_nonsense"):
        task_of("crnn_nonsense")
