"""The three sets of tasks of a run, loaded and proven disjoint."""

import msgspec
import structlog

from actors.executor import Executor
from actors.references import check_references
from evals.datasets import load_tasks
from evals.leakage import check_splits, without_overlap
from protocols.errors import TasksError
from protocols.ports import Ledger
from protocols.records import Task
from protocols.settings import TasksSettings

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class TaskSets(msgspec.Struct, frozen=True, kw_only=True):
    """The tasks of a run."""

    train: tuple[Task, ...]
    gate: tuple[Task, ...]
    held_out: tuple[Task, ...]
    benchmarks: tuple[Task, ...] = ()
    """Never answered in the run, and never trained on."""

    @property
    def evaluated(self) -> tuple[Task, ...]:
        """Every task that must not be trained on."""
        return (*self.gate, *self.held_out, *self.benchmarks)


def load_task_sets(settings: TasksSettings) -> TaskSets:
    """Return the sets that the settings name.

    Raises:
        TasksError: a source cannot be read, or a task to be trained on overlaps one to be evaluated on.
    """
    train = load_tasks(settings.train, limit=settings.limit)
    gate = load_tasks(settings.gate, limit=settings.limit)
    held_out = load_tasks(settings.held_out, limit=settings.limit) if settings.held_out is not None else ()
    benchmarks = tuple(task for source in settings.benchmarks for task in load_tasks(source))
    if settings.overlapping == "drop":
        train, pairs = without_overlap(train, (*gate, *held_out, *benchmarks))
        for ours, theirs in pairs:
            log.warning("task_left_out", task=ours, overlaps=theirs)
        if not train:
            raise TasksError(
                f"every task of {settings.train} overlaps a task of the gate, the held-out set or a benchmark"
            )
    check_splits(train, gate, held_out, benchmarks)
    return TaskSets(train=train, gate=gate, held_out=held_out, benchmarks=benchmarks)


async def run_references(sets: TaskSets, settings: TasksSettings, ledger: Ledger, executor: Executor) -> TaskSets:
    """Return the tasks that may be used: known to the run, and their references pass their tests.

    Raises:
        TasksError: a reference fails its own tests, and the settings refuse that.
        RunFolderError: a task is not what it was when the run began.
        SandboxError: the sandbox's own machinery failed.
    """
    train, gate, held_out = [
        await check_references(tasks, ledger, executor, failing=settings.failing_references)
        for tasks in (sets.train, sets.gate, sets.held_out)
    ]
    return TaskSets(train=train, gate=gate, held_out=held_out, benchmarks=sets.benchmarks)
