"""Curves: what goes where, read back from TensorBoard's files; a tracker's failure never reaches the run."""

import os
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from dashboard.trackers import Axis, TensorBoardFiles, check_trackers, open_trackers
from dashboard.tracking import CLOSING_S, WAITING, Curves, TrackedLedger, TrackedTrainer, open_curves
from ledger.memory import MemoryLedger
from protocols.errors import SettingsError
from protocols.ports import TrainingProgress
from protocols.records import Evaluation
from tests.actors.parts import make_report
from tests.trainer import tiny
from trainer.fake import FakeTrainer

Points = dict[str, list[tuple[int, float]]]


class Kept:
    def __init__(self, fails_at: int | None = None) -> None:
        self.points: Points = {}
        self.calls = 0
        self.closed = False
        self._fails_at = fails_at

    def log(self, values: Mapping[str, float], axis: Axis, at: int) -> None:
        self.calls += 1
        if self.calls == self._fails_at:
            raise ConnectionError("the hub is down")
        for name, value in values.items():
            self.points.setdefault(name, []).append((at, value))

    def close(self) -> None:
        self.closed = True


class Hanging(Kept):
    """Takes no point to its end until it is released."""

    def __init__(self) -> None:
        super().__init__()
        self._released = threading.Event()

    def log(self, values: Mapping[str, float], axis: Axis, at: int) -> None:
        self._released.wait(timeout=60)

    def release(self) -> None:
        self._released.set()


def evaluation(purpose: Any, version: int, share: float) -> Evaluation:
    return Evaluation(
        id=f"{purpose}-{version}",
        purpose=purpose,
        version=version,
        round=0,
        results=(),
        pass_at_1=share,
        low=0.0,
        high=1.0,
        pass_at_k={4: 2 * share},
        executable_share=1.0,
        prompt_tokens=0,
        completion_tokens=0,
        seconds=1.0,
    )


def step(number: int, loss: float) -> TrainingProgress:
    return TrainingProgress(step=number, steps=9, loss=loss, learning_rate=1e-4, tokens_per_s=50.0, peak_bytes=7)


def read_back(folder: Path) -> Points:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    return {name: [(one.step, one.value) for one in events.Scalars(name)] for name in events.Tags()["scalars"]}


async def test_steps_and_evaluations_are_read_back_from_event_files(tmp_path: Path) -> None:
    async with open_curves([TensorBoardFiles(tmp_path)]) as curves:
        for number, loss in ((1, 2.0), (2, 1.5)):
            curves.step(step(number, loss))
        curves.evaluated(evaluation("held_out", 3, 0.25))
    points = read_back(tmp_path)
    assert points["train/loss"] == [(1, 2.0), (2, 1.5)]
    assert points["train/tokens_per_s"] == [(1, 50.0), (2, 50.0)]
    assert [at for at, _ in points["train/learning_rate"]] == [1, 2]
    assert points["held_out/pass_at_1"] == [(3, 0.25)]
    assert points["held_out/pass_at_4"] == [(3, 0.5)]


async def test_a_second_start_goes_on_in_a_file_of_its_own(tmp_path: Path) -> None:
    for steps in (0, 5):
        async with open_curves([TensorBoardFiles(tmp_path)], steps) as curves:
            curves.step(step(1, 2.0))
    assert len(os.listdir(tmp_path)) == 2
    assert read_back(tmp_path)["train/loss"] == [(1, 2.0), (6, 2.0)]


async def test_a_run_without_values_leaves_no_file(tmp_path: Path) -> None:
    async with open_curves([TensorBoardFiles(tmp_path / "tensorboard")]):
        pass
    assert not (tmp_path / "tensorboard").exists()


async def test_the_next_job_s_steps_come_after_the_last_one_s(tmp_path: Path) -> None:
    kept = Kept()
    async with open_curves([kept]) as curves:
        ledger = TrackedLedger(MemoryLedger(), curves)
        trainer = TrackedTrainer(FakeTrainer(), curves)
        seen: list[TrainingProgress] = []
        for version in (1, 2):
            job = tiny.job("model", tmp_path, id=f"batch-{version}", version=version)
            await ledger.append(await trainer.train(job, seen.append))
    assert [at for at, _ in kept.points["train/loss"]] == list(range(1, 13))
    assert len(seen) == 12, "whoever asked for the progress still gets it"


async def test_only_evaluations_that_are_on_disk_are_shown() -> None:
    class Full(MemoryLedger):
        async def append(self, *records: Any) -> None:
            raise OSError("full")

    kept = Kept()
    async with open_curves([kept]) as curves:
        with pytest.raises(OSError, match="full"):
            await TrackedLedger(Full(), curves).append(evaluation("gate", 1, 0.5))
        await TrackedLedger(MemoryLedger(), curves).append(make_report(1), evaluation("gate", 2, 0.5))
    assert kept.points["gate/pass_at_1"] == [(2, 0.5)]


async def test_a_tracker_that_fails_is_left_alone_and_the_others_go_on() -> None:
    failing, sound = Kept(fails_at=2), Kept()
    async with open_curves([failing, sound]) as curves:
        for number in (1, 2, 3):
            curves.step(step(number, 1.0))
    assert failing.calls == 2
    assert [at for at, _ in sound.points["train/loss"]] == [1, 2, 3]
    assert sound.closed


async def test_the_run_waits_only_so_long_for_a_tracker_that_hangs(autojump_clock: trio.testing.MockClock) -> None:
    hanging = Hanging()
    try:
        async with open_curves([hanging]) as curves:
            curves.step(step(1, 1.0))
            await wait_all_tasks_blocked()
            assert trio.current_time() == 0
        assert trio.current_time() == CLOSING_S
        assert not hanging.closed
    finally:
        hanging.release()


async def test_what_comes_faster_than_trackers_take_it_is_dropped_and_the_run_goes_on() -> None:
    kept = Kept()
    curves = Curves([kept])
    for number in range(WAITING + 5):
        curves.step(step(number, 1.0))
    curves.end()
    await curves.serve()
    assert [at for at, _ in kept.points["train/loss"]] == list(range(WAITING))


def test_a_named_tracker_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SettingsError, match="names wandb, which is not installed"):
        check_trackers(("wandb",))


class TestNamed:
    """Each client is asked in its own words; the modules here only write down what they were asked."""

    def opened(self, monkeypatch: pytest.MonkeyPatch, folder: Path, name: str, module: Any) -> Any:
        monkeypatch.setitem(sys.modules, name, module)
        _, tracker = open_trackers((name,), project="p", run="r", settings={"train.rank": "16"}, folder=folder)
        tracker.log({"train/loss": 2.0}, "step", 5)
        tracker.log({"gate/pass_at_1": 0.5}, "version", 1)
        tracker.close()

    def test_wandb(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        asked: list[Any] = []
        run = SimpleNamespace(
            define_metric=lambda name, step_metric=None: asked.append((name, step_metric)),
            log=asked.append,
            finish=lambda: asked.append("finish"),
        )
        self.opened(monkeypatch, tmp_path, "wandb", SimpleNamespace(init=lambda **given: asked.append(given) or run))
        assert asked[0]["id"] == asked[0]["name"] == "r"
        assert asked[0]["resume"] == "allow"
        assert ("train/*", "step") in asked
        assert ("held_out/*", "version") in asked
        assert asked[-3:] == [{"train/loss": 2.0, "step": 5}, {"gate/pass_at_1": 0.5, "version": 1}, "finish"]

    def test_one_that_cannot_be_set_up_is_named(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        def init(**_: Any) -> None:
            raise RuntimeError("no API key")

        with pytest.raises(SettingsError, match="names wandb, which cannot be set up: no API key"):
            self.opened(monkeypatch, tmp_path, "wandb", SimpleNamespace(init=init))

    def test_mlflow(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        asked: list[Any] = []

        class Client:
            def get_experiment_by_name(self, name: str) -> None:
                asked.append(name)

            def create_experiment(self, name: str) -> str:
                return f"experiment {name}"

            def search_runs(self, experiments: list[str], **given: Any) -> list[Any]:
                asked.append((*experiments, given["filter_string"]))
                return [] if len(asked) < 3 else [SimpleNamespace(info=SimpleNamespace(run_id="id"))]

            def update_run(self, *given: Any, status: str) -> None:
                asked.append((*given, status))

            def create_run(self, experiment: str, run_name: str) -> Any:
                asked.append((experiment, run_name))
                return SimpleNamespace(info=SimpleNamespace(run_id="id"))

            def log_param(self, *given: Any) -> None:
                asked.append(given)

            def log_metric(self, *given: Any, step: int) -> None:
                asked.append((*given, step))

            def set_terminated(self, id: str) -> None:
                asked.append(f"over: {id}")

        self.opened(monkeypatch, tmp_path, "mlflow", SimpleNamespace(MlflowClient=Client))
        first = [
            "p",
            ("experiment p", "attributes.run_name = 'r'"),
            ("experiment p", "r"),
            ("id", "train.rank", "16"),
        ]
        points = [("id", "train/loss", 2.0, 5), ("id", "gate/pass_at_1", 0.5, 1), "over: id"]
        assert asked == first + points
        self.opened(monkeypatch, tmp_path, "mlflow", SimpleNamespace(MlflowClient=Client))
        assert asked[len(first + points) :] == [*first[:2], ("id", "RUNNING"), *points], "the run goes on"

    def test_trackio(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        asked: list[Any] = []
        run = SimpleNamespace(
            log=lambda *given, **at: asked.append((*given, at)), finish=lambda: asked.append("finish")
        )
        self.opened(monkeypatch, tmp_path, "trackio", SimpleNamespace(init=lambda **given: asked.append(given) or run))
        assert (asked[0]["project"], asked[0]["name"], asked[0]["resume"]) == ("p", "r", "allow")
        assert asked[1:] == [({"train/loss": 2.0}, {"step": 5}), ({"gate/pass_at_1": 0.5}, {"step": 1}), "finish"]
