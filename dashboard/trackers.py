# pyright: reportMissingImports=false, reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportAttributeAccessIssue=false
# (the clients are optional, and untyped as far as they are used)
"""Where curves go: TensorBoard event files always, and Weights & Biases, MLflow or trackio where they are named.

Each is spoken to through its own client, which decides by its own environment variables where it sends what. All of
them may block, and may fail: `dashboard.tracking` calls them in a thread and keeps the run from their failures.
"""

import importlib
import importlib.util
import os
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

from protocols.errors import SettingsError

Axis = Literal["step", "version"]
"""What a value stands over: the optimiser's steps, counted over all jobs of the run, or the policy's versions."""


class Tracker(Protocol):
    """One place for curves. Calls come from one thread at a time."""

    def log(self, values: Mapping[str, float], axis: Axis, at: int) -> None:
        """Add a point to the curve of each name."""
        ...

    def close(self) -> None:
        """Send what is still kept back."""
        ...


class TensorBoardFiles:
    """One event file for each start of the run, in a folder that TensorBoard shows.

    The file is opened at the first value, so a run without any leaves none.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writer: Any = None

    def log(self, values: Mapping[str, float], axis: Axis, at: int) -> None:
        """Write the values, and have them on disk."""
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        if self._writer is None:
            self._writer = self._open()
            self._writer.write(Event(wall_time=time.time(), file_version="brain.Event:2").SerializeToString())
        points = [Summary.Value(tag=name, simple_value=value) for name, value in values.items()]
        event = Event(wall_time=time.time(), step=at, summary=Summary(value=points))
        self._writer.write(event.SerializeToString())
        self._writer.flush()

    def close(self) -> None:
        """Close the file."""
        if self._writer is not None:
            self._writer.close()

    def _open(self) -> Any:
        from tensorboard.summary.writer.record_writer import RecordWriter

        self._folder.mkdir(parents=True, exist_ok=True)
        name = f"events.out.tfevents.{time.time_ns()}.{socket.gethostname()}.{os.getpid()}"
        return RecordWriter((self._folder / name).open("wb"))


class WeightsAndBiases:
    """A run of the same name in the project `project`; it goes on where the run goes on."""

    def __init__(self, project: str, name: str, settings: Mapping[str, Any], folder: Path) -> None:
        wandb: Any = importlib.import_module("wandb")
        folder.mkdir(parents=True, exist_ok=True)
        self._run = wandb.init(
            project=project, name=name, id=name, resume="allow", config=dict(settings), dir=str(folder)
        )
        for axis, names in _AXES.items():
            self._run.define_metric(axis)
            for curves in names:
                self._run.define_metric(f"{curves}/*", step_metric=axis)

    def log(self, values: Mapping[str, float], axis: Axis, at: int) -> None:
        """Log the values with their place on the axis."""
        self._run.log({**values, axis: at})

    def close(self) -> None:
        """Finish the run."""
        self._run.finish()


class MLflow:
    """A run of the same name in the experiment `project`, where `MLFLOW_TRACKING_URI` says; it goes on likewise."""

    def __init__(self, project: str, name: str, settings: Mapping[str, Any], folder: Path) -> None:
        self._client: Any = importlib.import_module("mlflow").MlflowClient()
        known = self._client.get_experiment_by_name(project)
        experiment = known.experiment_id if known is not None else self._client.create_experiment(project)
        found = self._client.search_runs([experiment], filter_string=f"attributes.run_name = '{name}'", max_results=1)
        self._run_id: str = (found or [self._client.create_run(experiment, run_name=name)])[0].info.run_id
        if found:
            self._client.update_run(self._run_id, status="RUNNING")
            return
        for key, value in settings.items():
            self._client.log_param(self._run_id, key, value)

    def log(self, values: Mapping[str, float], axis: Axis, at: int) -> None:
        """Log each value."""
        for name, value in values.items():
            self._client.log_metric(self._run_id, name, value, step=at)

    def close(self) -> None:
        """Mark the run as over."""
        self._client.set_terminated(self._run_id)


class Trackio:
    """A run of the same name in the project `project`; it goes on where the run goes on."""

    def __init__(self, project: str, name: str, settings: Mapping[str, Any], folder: Path) -> None:
        trackio: Any = importlib.import_module("trackio")
        self._run = trackio.init(project=project, name=name, config=dict(settings), resume="allow")

    def log(self, values: Mapping[str, float], axis: Axis, at: int) -> None:
        """Log the values; trackio has one axis, which it calls a step."""
        self._run.log(dict(values), step=at)

    def close(self) -> None:
        """Finish the run."""
        self._run.finish()


_AXES: Mapping[Axis, Sequence[str]] = {"step": ("train",), "version": ("gate", "held_out")}
_NAMED: Mapping[str, Callable[[str, str, Mapping[str, Any], Path], Tracker]] = {
    "wandb": WeightsAndBiases,
    "mlflow": MLflow,
    "trackio": Trackio,
}
"""By the name of the module, which is that of the package."""


def check_trackers(names: Sequence[str]) -> None:
    """Return when every named tracker is installed.

    Raises:
        SettingsError: one is not.
    """
    for name in names:
        if importlib.util.find_spec(name) is None:
            raise SettingsError(
                f"run.trackers names {name}, which is not installed here: install it (pip install {name}), or leave it "
                "out; TensorBoard files are written anyway"
            )


def open_trackers(
    names: Sequence[str], *, project: str, run: str, settings: Mapping[str, Any], folder: Path
) -> tuple[Tracker, ...]:
    """Return TensorBoard files and the named trackers. Blocks while they are set up.

    Args:
        names: as `run.trackers`; `check_trackers` has passed them.
        project: name of the project or experiment.
        run: the run's name.
        settings: flat, to be shown beside the curves.
        folder: of the run; event files go to `tensorboard/` in it.

    Raises:
        SettingsError: one that is named cannot be set up.
    """
    trackers: list[Tracker] = [TensorBoardFiles(folder / "tensorboard")]
    for name in names:
        try:
            trackers.append(_NAMED[name](project, run, settings, folder))
        except Exception as error:  # a client may fail in any way of its own, for lack of a key or of a network
            raise SettingsError(f"run.trackers names {name}, which cannot be set up: {error}") from error
    return tuple(trackers)
