"""Reference answers are run before a run begins: a test that the reference fails says nothing about a candidate.

A task without tests is taken as it is: its tests are written, and held against the reference, when it comes up.
"""

from collections.abc import Sequence
from typing import Literal

import msgspec
import structlog
import trio

from actors.executor import Executor, execution_id
from protocols.errors import RunFolderError, TasksError
from protocols.identity import REFERENCE
from protocols.ports import JobResult, Ledger
from protocols.records import Execution, Task

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

SHOWN = 3
"""Failing tasks that an error names."""


async def check_references(
    tasks: Sequence[Task], ledger: Ledger, executor: Executor, *, failing: Literal["refuse", "drop_tests"]
) -> tuple[Task, ...]:
    """Return the tasks that may be used, each noted in the ledger, its reference run (once in a run's life).

    Args:
        tasks: as loaded.
        ledger: the run's.
        executor: runs the references.
        failing: what to do with a test that its task's reference fails; `drop_tests` drops a task without tests left.

    Raises:
        TasksError: a reference fails a test, and `failing` is `refuse`.
        RunFolderError: a task of the same id was another one when the run began.
        SandboxError: the sandbox's own machinery failed.
    """
    await _check_unchanged(tasks, ledger)
    results: dict[str, JobResult] = {}

    async def run(task: Task) -> None:
        known = await ledger.get(Execution, execution_id(task, REFERENCE))
        if known is None or len(known.outcomes) != len(task.tests):
            results[task.id] = await executor.measure(task, task.reference)

    async with trio.open_nursery() as nursery:
        for task in tasks:
            if task.reference is not None and task.tests:
                nursery.start_soon(run, task)
    failed = [task for task in tasks if task.id in results and not _solved(results[task.id])]
    if failed and failing == "refuse":
        raise TasksError(_complaint(failed, results))
    await ledger.append(*tasks)
    usable = {task.id: _without_failing_tests(task, results.get(task.id)) for task in tasks}
    for task_id, result in results.items():
        task = usable[task_id]
        if task is not None:
            outcomes = tuple(outcome for outcome in result.outcomes if outcome.passed)
            passed = msgspec.structs.replace(result, outcomes=outcomes, error_class=None)
            await executor.record(task, 0, REFERENCE, passed)
    return tuple(task for task in usable.values() if task is not None)


def _solved(result: JobResult) -> bool:
    return bool(result.outcomes) and all(outcome.passed for outcome in result.outcomes)


async def _check_unchanged(tasks: Sequence[Task], ledger: Ledger) -> None:
    known = {task.id: task for task in await ledger.find(Task)}
    for task in tasks:
        if known.get(task.id, task) != task:
            raise RunFolderError(
                f"task {task.id} is not what it was when this run began; begin a new run (another run.name) "
                "after changing a tasks file"
            )


def _complaint(failed: Sequence[Task], results: dict[str, JobResult]) -> str:
    shown: list[str] = []
    for task in failed[:SHOWN]:
        number, outcome = next((n, o) for n, o in enumerate(results[task.id].outcomes, 1) if not o.passed)
        shown.append(f"task {task.id}: test {number} of {len(task.tests)}: {outcome.error_class}: {outcome.message}")
    more = f" (and {len(failed) - SHOWN} more)" if len(failed) > SHOWN else ""
    return (
        f"the reference answers of {len(failed)} tasks fail their own tests: {'; '.join(shown)}{more}. Mend the tasks, "
        'or set tasks.failing_references = "drop_tests"'
    )


def _without_failing_tests(task: Task, result: JobResult | None) -> Task | None:
    if result is None or _solved(result):
        return task
    tests = tuple(test for test, outcome in zip(task.tests, result.outcomes, strict=True) if outcome.passed)
    log.warning("tests_dropped", task=task.id, dropped=len(task.tests) - len(tests), left=len(tests))
    return msgspec.structs.replace(task, tests=tests) if tests else None
