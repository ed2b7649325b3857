"""The Executor: every candidate and the incumbent, each run once in a run's life."""

from typing import Literal

import pytest

from actors.executor import Executor
from actors.messages import Generated
from ledger.memory import MemoryLedger
from protocols.errors import SandboxError
from protocols.identity import REFERENCE
from protocols.ports import Job
from protocols.records import Execution, Incumbent, Task
from sandbox.fake import FakeSandbox
from tests.actors.parts import (
    LIMITS,
    good,
    half,
    honest_sandbox,
    make_candidate,
    make_decision,
    make_task,
    raise_error,
    raising,
    wrong,
)

TASK = make_task(3)
References = Literal["train", "anchor", "hidden"]


def make_executor(sandbox: FakeSandbox, ledger: MemoryLedger, references: References = "anchor") -> Executor:
    return Executor(sandbox, ledger, limits=LIMITS, references=references)


def generated(*codes: str | None, task: Task = TASK, round: int = 0) -> Generated:
    candidates = tuple(make_candidate(task, index, code, round=round) for index, code in enumerate(codes))
    return Generated(task=task, round=round, candidates=candidates)


async def test_every_candidate_and_the_reference_are_run() -> None:
    ledger, sandbox = MemoryLedger(), honest_sandbox()
    item = generated(good(3), half(3), raising(3))
    done = await make_executor(sandbox, ledger).execute(item)
    shares = [done.executions[one.id].share for one in item.candidates]
    assert shares == [1.0, 0.5, 0.0]
    assert done.executions[item.candidates[2].id].error_class == "name"
    assert done.executions[REFERENCE].solved
    assert done.incumbent == Incumbent(subject_id=REFERENCE, origin="reference", code=good(3))
    assert len(await ledger.find(Execution)) == 4
    assert all(job.entry_point == "f3" and job.limits == LIMITS for job in sandbox.jobs)


async def test_a_response_without_code_is_not_run_and_fails_every_test() -> None:
    sandbox = honest_sandbox()
    item = generated(None)
    done = await make_executor(sandbox, MemoryLedger()).execute(item)
    execution = done.executions[item.candidates[0].id]
    assert (execution.executable, execution.share, execution.error_class) == (False, 0.0, "missing_entry_point")
    assert len(execution.outcomes) == len(TASK.tests)
    assert [job.code for job in sandbox.jobs] == [good(3)]


async def test_nothing_on_record_is_run_again() -> None:
    ledger = MemoryLedger()
    first = await make_executor(honest_sandbox(), ledger).execute(generated(good(3), wrong(3)))
    silent = FakeSandbox(raise_error(AssertionError("run again")))
    again = await make_executor(silent, ledger).execute(generated(good(3), wrong(3)))
    assert again == first


async def test_the_reference_is_run_once_for_all_rounds_and_apart_from_other_tasks() -> None:
    ledger, sandbox = MemoryLedger(), honest_sandbox()
    executor = make_executor(sandbox, ledger)
    other = make_task(4)
    await executor.execute(generated(round=0))
    await executor.execute(generated(round=1))
    done = await executor.execute(generated(task=other))
    assert [job.code for job in sandbox.jobs] == [good(3), good(4)]
    assert done.executions[REFERENCE].task_id == other.id


async def test_a_hidden_reference_is_no_incumbent() -> None:
    sandbox = honest_sandbox()
    done = await make_executor(sandbox, MemoryLedger(), "hidden").execute(generated(good(3)))
    assert done.incumbent is None
    assert len(sandbox.jobs) == 1


async def test_the_incumbent_is_what_the_last_decision_before_the_round_left() -> None:
    ledger = MemoryLedger()
    early, late, future = (Incumbent(subject_id=f"c{n}", origin="self", code=good(3)) for n in range(3))
    for round, incumbent in ((0, early), (1, late), (2, future)):
        await ledger.append(make_decision(TASK, ("replace",), incumbent=incumbent, round=round))
    done = await make_executor(honest_sandbox(), ledger).execute(generated(round=2))
    assert done.incumbent == late
    assert done.executions["c1"].solved


async def test_a_failing_sandbox_is_the_surroundings_fault() -> None:
    sandbox = FakeSandbox(raise_error(SandboxError("no worker")))
    with pytest.RaisesGroup(SandboxError):
        await make_executor(sandbox, MemoryLedger(), "hidden").execute(generated(good(3)))


async def test_what_an_evaluation_measures_is_not_recorded() -> None:
    ledger = MemoryLedger()
    result = await make_executor(honest_sandbox(), ledger).measure(TASK, half(3))
    assert [outcome.passed for outcome in result.outcomes] == [True, False]
    assert await ledger.find(Execution) == ()


@pytest.mark.parametrize("setup", ["", "import math"])
async def test_a_tasks_setup_goes_with_the_job(setup: str) -> None:
    seen: list[Job] = []
    sandbox = honest_sandbox()
    task = Task(id="t", kind="function", instruction="x", tests=TASK.tests, entry_point="f3", setup=setup)
    await make_executor(sandbox, MemoryLedger()).measure(task, good(3))
    seen.extend(sandbox.jobs)
    assert [job.setup for job in seen] == [setup]
