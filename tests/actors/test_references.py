"""Reference answers are run before a run begins, and what they fail says nothing about candidates."""

import msgspec
import pytest

from actors.executor import Executor
from actors.messages import Generated
from actors.references import check_references
from ledger.memory import MemoryLedger
from protocols.errors import RunFolderError, SandboxError, TasksError
from protocols.identity import REFERENCE
from protocols.records import AssertTest, Execution, Task
from sandbox.fake import FakeSandbox
from tests.actors.parts import LIMITS, honest_sandbox, make_task, raise_error, wrong

GOOD = make_task(1)
WRONG = msgspec.structs.replace(make_task(2), reference=wrong(2))
PARTLY = msgspec.structs.replace(make_task(3), tests=(*make_task(3).tests, AssertTest(code="assert f3(1) == 0")))
OPEN = make_task(4, reference=False)


def executor(ledger: MemoryLedger, sandbox: FakeSandbox | None = None) -> Executor:
    return Executor(sandbox or honest_sandbox(), ledger, limits=LIMITS, references="anchor")


async def test_tasks_whose_references_pass_are_noted_with_what_was_shown() -> None:
    ledger = MemoryLedger()
    assert await check_references([GOOD, OPEN], ledger, executor(ledger), failing="refuse") == (GOOD, OPEN)
    assert await ledger.find(Task) == (GOOD, OPEN)
    (execution,) = await ledger.find(Execution)
    assert (execution.subject_id, execution.task_id, execution.solved) == (REFERENCE, GOOD.id, True)


async def test_a_failing_reference_is_refused_with_task_test_and_remedy() -> None:
    ledger = MemoryLedger()
    with pytest.raises(TasksError, match=r"task2: test 1 of 2: wrong_answer.*task3: test 3 of 3.*drop_tests"):
        await check_references([GOOD, WRONG, PARTLY], ledger, executor(ledger), failing="refuse")
    assert await ledger.find(Task) == ()
    assert await ledger.find(Execution) == ()


async def test_tests_that_the_reference_fails_may_be_dropped_and_tasks_without_tests_with_them() -> None:
    ledger = MemoryLedger()
    usable = await check_references([GOOD, WRONG, PARTLY], ledger, executor(ledger), failing="drop_tests")
    assert usable == (GOOD, make_task(3))
    assert {one.task_id: (one.solved, len(one.outcomes)) for one in await ledger.find(Execution)} == {
        "task1": (True, 2),
        "task3": (True, 2),
    }


async def test_dropped_tests_stay_dropped_when_the_run_goes_on() -> None:
    ledger = MemoryLedger()
    tasks = [GOOD, WRONG, PARTLY]
    first = await check_references(tasks, ledger, executor(ledger), failing="drop_tests")
    assert await check_references(tasks, ledger, executor(ledger), failing="drop_tests") == first


async def test_a_reference_that_was_run_is_not_run_again() -> None:
    ledger = MemoryLedger()
    await check_references([GOOD], ledger, executor(ledger), failing="refuse")
    silent = executor(ledger, FakeSandbox(raise_error(AssertionError("run again"))))
    assert await check_references([GOOD], ledger, silent, failing="refuse") == (GOOD,)
    done = await silent.execute(Generated(task=GOOD, round=0, candidates=()))
    assert done.executions[REFERENCE].solved


async def test_a_task_that_changed_since_the_run_began_is_refused() -> None:
    ledger = MemoryLedger()
    await check_references([GOOD], ledger, executor(ledger), failing="refuse")
    changed = msgspec.structs.replace(GOOD, instruction="Something else.")
    with pytest.raises(RunFolderError, match="task1 is not what it was"):
        await check_references([changed], ledger, executor(ledger), failing="refuse")


async def test_a_failing_sandbox_leaves_nothing_on_record() -> None:
    ledger = MemoryLedger()
    broken = executor(ledger, FakeSandbox(raise_error(SandboxError("no worker"))))
    with pytest.RaisesGroup(SandboxError):
        await check_references([GOOD], ledger, broken, failing="refuse")
    assert await ledger.find(Task) == ()
