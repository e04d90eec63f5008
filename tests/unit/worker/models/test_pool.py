"""The models of one process: loaded once for all threads, and never kept half loaded."""

import contextlib
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from contract.errors import ModelUnavailableError, UnfitWorkerError
from worker.models.pool import ModelPool


class FakeModel:
    """A model that notes that it was warmed up, unless its device fails first."""

    def __init__(self, fault: Exception | None = None) -> None:
        self.warm = False
        self._fault = fault

    def warm_up(self) -> None:
        if self._fault:
            raise self._fault
        self.warm = True


def failing_first(error: Exception, load: Callable[[str], FakeModel]) -> Callable[[str], FakeModel]:
    """Return a loader that raises the error, once."""
    failed = threading.Event()

    def load_or_fail(architecture: str) -> FakeModel:
        if failed.is_set():
            return load(architecture)
        failed.set()
        raise error

    return load_or_fail


class TestLoading:
    def test_a_model_is_loaded_at_its_first_use_and_kept_warm(self) -> None:
        asked: list[str] = []
        pool = ModelPool(lambda name: asked.append(name) or FakeModel())
        assert asked == []

        first = pool.get("parseq")

        assert first.warm
        assert pool.get("parseq") is first
        assert pool.get("master") is not first
        assert asked == ["parseq", "master"]

    def test_models_that_do_not_fit_together_take_turns(self) -> None:
        # given a device that holds one model
        alive: weakref.WeakSet[FakeModel] = weakref.WeakSet()

        def load(_: str) -> FakeModel:
            if alive:
                raise torch.OutOfMemoryError("CUDA out of memory")
            model = FakeModel()
            alive.add(model)
            return model

        pool = ModelPool(load)

        for name in ("parseq", "master", "parseq"):
            assert pool.get(name).warm
            assert len(alive) == 1

    def test_a_model_that_does_not_fit_alone_is_loaded_twice_at_most(self) -> None:
        asked: list[str] = []

        def load(name: str) -> FakeModel:
            asked.append(name)
            return FakeModel(torch.OutOfMemoryError("CUDA out of memory") if name == "master" else None)

        pool = ModelPool(load)
        pool.get("parseq")

        with pytest.raises(UnfitWorkerError, match="master cannot be loaded"):
            pool.get("master")
        assert asked == ["parseq", "master", "master"]

    def test_threads_that_ask_at_once_share_one_load(self) -> None:
        # given a load that a second one, were there any, would find under way
        together, meeting = threading.Barrier(4), threading.Barrier(2)
        loads: list[str] = []

        def load(architecture: str) -> FakeModel:
            loads.append(architecture)
            with contextlib.suppress(threading.BrokenBarrierError):
                meeting.wait(0.2)
            return FakeModel()

        pool = ModelPool(load)

        def ask(_: int) -> FakeModel:
            together.wait(30)
            return pool.get("parseq")

        with ThreadPoolExecutor(4) as threads:
            models = set(threads.map(ask, range(4)))

        assert (len(models), loads) == (1, ["parseq"])

    def test_who_wants_to_know_is_told_of_each_load(self) -> None:
        told: list[tuple[str, bool]] = []
        pool = ModelPool(lambda _: FakeModel(), lambda name, seconds: told.append((name, seconds >= 0)))

        for name in ("parseq", "master", "parseq"):
            pool.get(name)

        assert told == [("parseq", True), ("master", True)]


class TestFailures:
    def test_weights_that_are_missing_are_said_to_be_so(self) -> None:
        def missing(_: str) -> FakeModel:
            raise ModelUnavailableError("there are no weights of parseq")

        with pytest.raises(ModelUnavailableError, match="no weights of parseq"):
            ModelPool(missing).get("parseq")

    @pytest.mark.parametrize(
        "load",
        [
            failing_first(RuntimeError("CUDA out of memory"), lambda _: FakeModel()),
            lambda _: FakeModel(RuntimeError("CUDA out of memory")),
        ],
        ids=["load", "warm-up"],
    )
    def test_a_device_that_fails_makes_the_worker_unfit(self, load: Callable[[str], FakeModel]) -> None:
        with pytest.raises(
            UnfitWorkerError, match=r"parseq cannot be loaded .*CUDA out of memory.*memory and driver"
        ):
            ModelPool(load).get("parseq")

    @pytest.mark.parametrize(
        "error", [ModelUnavailableError("not there yet"), RuntimeError("driver is busy")], ids=repr
    )
    def test_a_failure_is_not_kept(self, error: Exception) -> None:
        told: list[str] = []
        pool = ModelPool(failing_first(error, lambda _: FakeModel()), lambda name, _: told.append(name))
        with pytest.raises((ModelUnavailableError, UnfitWorkerError)):
            pool.get("parseq")
        assert told == []

        assert pool.get("parseq").warm
        assert told == ["parseq"]


def test_a_pool_tells_what_it_is_loading_also_when_that_fails() -> None:
    told: list[str] = []
    pool = ModelPool(failing_first(RuntimeError("full"), lambda _: FakeModel()), on_loading=told.append)

    with pytest.raises(UnfitWorkerError):
        pool.get("parseq")
    pool.get("parseq")
    pool.get("parseq")

    assert told == ["parseq", "", "parseq", ""]
