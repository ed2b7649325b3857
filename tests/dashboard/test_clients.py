# pyright: reportMissingImports=false, reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (the clients are optional)
"""Curves through the trackers' own clients, read back from what these wrote: skipped where a client is not installed.

The extra `trackers` installs them all.
"""

import struct
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import trio

from dashboard.trackers import open_trackers
from dashboard.tracking import open_curves
from tests.dashboard.test_tracking import Points, evaluation, step

PROJECT = "refinement"
RUN = "night-1"
DEADLINE_S = 120.0


def weights_and_biases(folder: Path) -> Points:
    """Return the points of all starts of the run, each at its place on the axis it was given."""
    from wandb.proto.wandb_internal_pb2 import Record

    points: Points = {}
    for path in sorted(folder.glob("**/*.wandb")):
        for written in records(path.read_bytes()):
            record: Any = Record.FromString(written)
            row = {"/".join(one.nested_key) or one.key: float(one.value_json) for one in record.history.item}
            at = int(row.get("step", row.get("version", -1)))
            for name in row.keys() - {"step", "version"}:
                if not name.startswith("_"):
                    points.setdefault(name, []).append((at, row[name]))
    return points


def records(log: bytes) -> Iterator[bytes]:
    """Yield the records of a log in LevelDB's format, smaller than its block, after W&B's own header."""
    at = 7
    while at + 7 <= len(log):
        (size,) = struct.unpack_from("<H", log, at + 4)
        yield log[at + 7 : at + 7 + size]
        at += 7 + size


def mlflow(_: Path) -> Points:
    from mlflow import MlflowClient

    client: Any = MlflowClient()
    [run] = client.search_runs([client.get_experiment_by_name(PROJECT).experiment_id])
    assert (run.info.run_name, run.info.status) == (RUN, "FINISHED")
    assert run.data.params == {"train.rank": "16"}
    return {
        name: [(one.step, one.value) for one in client.get_metric_history(run.info.run_id, name)]
        for name in run.data.metrics
    }


def trackio(_: Path) -> Points:
    from trackio import SQLiteStorage

    assert SQLiteStorage.get_runs(PROJECT) == [RUN]
    points: Points = {}
    for row in SQLiteStorage.get_logs(PROJECT, RUN):
        for name, value in row.items():
            points.setdefault(name, []).append((row["step"], value))
    return points


READERS: dict[str, Callable[[Path], Points]] = {"wandb": weights_and_biases, "mlflow": mlflow, "trackio": trackio}


@pytest.mark.parametrize("client", READERS)
async def test_what_two_starts_of_a_run_logged_stands_in_one_run_of_its_name(
    client: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if find_spec(client) is None:
        pytest.skip(f"{client} is not installed")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.sqlite")
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    with trio.fail_after(DEADLINE_S):
        for version, loss in ((1, 2.0), (2, 1.5)):
            trackers = await trio.to_thread.run_sync(open_named, client, tmp_path)
            async with open_curves(trackers, version - 1) as curves:
                curves.step(step(1, loss))
                curves.evaluated(evaluation("held_out", version, 0.25))
        points = await trio.to_thread.run_sync(READERS[client], tmp_path)
    assert points["train/loss"] == [(1, 2.0), (2, 1.5)]
    assert points["held_out/pass_at_1"] == [(1, 0.25), (2, 0.25)]


def open_named(client: str, folder: Path) -> Any:
    return open_trackers([client], project=PROJECT, run=RUN, settings={"train.rank": 16}, folder=folder)
