"""The run itself, its base model and its tasks."""

from typing import Annotated, Literal

from pydantic import Field

from protocols.settings.section import EMBEDDED_MODEL, Positive, Seconds, Section


class RunSettings(Section):
    """The run itself."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    """Name of the run's folder."""
    folder: str = "runs"
    """Where run folders are."""
    rounds: Positive = 3
    tasks_per_round: Positive | None = None
    """None: every training task, each round."""
    order: Literal["learning", "uniform"] = "learning"
    """Which tasks a round takes: those first from which the policy can still learn, or any alike."""
    lead: Annotated[int, Field(ge=0)] = 0
    """How many rounds the Generator may be ahead of the last settled one. 0 waits for each publication; 1 overlaps
    generation with training."""
    seed: int = 0
    trackers: tuple[Literal["wandb", "mlflow", "trackio"], ...] = ()
    """Where curves of training and evaluation go besides TensorBoard files (`runs/NAME/tensorboard/`); each has to be
    installed, and sends to where its own environment variables say."""
    grace_s: Seconds = 10.0
    """How long in-flight work may go on after Ctrl-C."""


class ModelSettings(Section):
    """The policy's base model."""

    name: str = EMBEDDED_MODEL
    """`embedded`, a local folder, or a hub name."""
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = "auto"
    """Of the served weights. `auto`: bfloat16, or float32 on a processor that is slow in that."""


class TasksSettings(Section):
    """Where tasks come from. Each is a path (relative to the working directory) or `hf:NAME[:SPLIT]`."""

    train: str = "tasks/train.jsonl"
    gate: str = "tasks/gate.jsonl"
    held_out: str | None = "tasks/held_out.jsonl"
    """Answered for the report alone, never trained on; None leaves it out."""
    benchmarks: tuple[str, ...] = ()
    """Sets on which the outcome will be measured some day: not answered in the run, and never trained on."""
    limit: Positive | None = None
    """Take only the first so many of each set, benchmarks excepted."""
    failing_references: Literal["refuse", "drop_tests"] = "refuse"
    """What happens before the run starts when a reference answer fails one of its own tests: refuse the tasks file,
    or drop the test (and the task, when no test is left)."""
    overlapping: Literal["refuse", "drop"] = "refuse"
    """What happens to a training task that overlaps one of the gate, the held-out set or a benchmark (ids, wording,
    code): refuse the sets, or leave the training task out."""
