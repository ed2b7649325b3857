"""What every `Sandbox` promises, the real one and the fake alike.

`SANDBOX_FUSION_URL=http://... python -m pytest tests/sandbox/test_contract.py` holds a real SandboxFusion server to it.
"""

import os
from collections.abc import AsyncGenerator

import pytest
import trio
from trio.testing import assert_checkpoints

from protocols.ports import Job, JobResult, Sandbox
from sandbox.classification import failure, success
from sandbox.fake import FakeSandbox
from sandbox.http import HttpSandbox
from sandbox.process import ProcessSandbox
from sandbox.repetition import RepeatingSandbox
from tests.sandbox.making import function_job, passed
from tests.sandbox.service import service_running

RIGHT = function_job("def f(x):\n    return x", "assert f(1) == 1", "assert f(2) == 2")
HALF = function_job("def f(x):\n    return 1", "assert f(1) == 1", "assert f(2) == 2", "assert f(3) == 3")
BROKEN = function_job("def f(x:", "assert f(1) == 1", "assert f(2) == 2")
FAIL = failure("wrong", "wrong_answer", "")
OUTCOMES = {
    RIGHT: (success(),) * 2,
    HALF: (success(), FAIL, FAIL),
    BROKEN: (failure("syntax", "syntax", ""),) * 2,
}


def script(job: Job) -> JobResult:
    outcomes = OUTCOMES[job]
    first = next((outcome for outcome in outcomes if not outcome.passed), success())
    return JobResult(
        outcomes=outcomes,
        error_class=first.error_class,
        outcome=first.outcome,
        tier="fake",
        evidence="tests",
        cpu_s=0.1,
        wall_s=0.1,
        peak_bytes=1,
    )


REAL_SERVER = os.environ.get("SANDBOX_FUSION_URL", "")


@pytest.fixture(params=["process", "repeating", "http", "fake", *(["real server"] if REAL_SERVER else [])])
async def any_sandbox(request: pytest.FixtureRequest, sandbox: ProcessSandbox) -> AsyncGenerator[Sandbox]:
    match request.param:
        case "process":
            yield sandbox
        case "repeating":
            yield RepeatingSandbox(sandbox)
        case "http":
            with service_running() as service:
                async with HttpSandbox([service.url]) as remote:
                    yield remote
        case "real server":
            async with HttpSandbox([REAL_SERVER]) as remote:
                yield remote
        case _:
            yield FakeSandbox(script)


async def test_there_is_one_outcome_per_test_in_order(any_sandbox: Sandbox):
    assert passed(await any_sandbox.run(HALF)) == (True, False, False)


async def test_the_class_is_that_of_the_first_failure_and_none_when_everything_passed(any_sandbox: Sandbox):
    assert (await any_sandbox.run(RIGHT)).error_class is None
    assert (await any_sandbox.run(HALF)).error_class == "wrong_answer"


async def test_the_outcome_is_that_of_the_first_failure_and_told_for_each_test(any_sandbox: Sandbox):
    result = await any_sandbox.run(HALF)
    assert (result.outcome, [outcome.outcome for outcome in result.outcomes]) == ("wrong", ["pass", "wrong", "wrong"])
    assert (await any_sandbox.run(RIGHT)).outcome == "pass"
    assert (await any_sandbox.run(BROKEN)).outcome == "syntax"


async def test_code_that_cannot_be_executed_fails_every_test(any_sandbox: Sandbox):
    result = await any_sandbox.run(BROKEN)
    assert [outcome.error_class for outcome in result.outcomes] == ["syntax", "syntax"]


async def test_what_was_used_is_told(any_sandbox: Sandbox):
    result = await any_sandbox.run(RIGHT)
    assert result.tier
    assert result.evidence == "tests"
    assert min(result.cpu_s, result.wall_s, result.peak_bytes) > 0


async def test_running_is_a_checkpoint(any_sandbox: Sandbox):
    with assert_checkpoints():
        await any_sandbox.run(RIGHT)


async def test_a_cancelled_run_raises_and_the_next_one_works(any_sandbox: Sandbox):
    with trio.CancelScope() as scope:
        scope.cancel()
        await any_sandbox.run(RIGHT)
    assert scope.cancelled_caught
    assert passed(await any_sandbox.run(RIGHT)) == (True, True)


async def test_jobs_run_beside_each_other(any_sandbox: Sandbox):
    results: dict[int, JobResult] = {}

    async def run(number: int, job: Job) -> None:
        results[number] = await any_sandbox.run(job)

    async with trio.open_nursery() as nursery:
        for number, job in enumerate((RIGHT, HALF, BROKEN)):
            nursery.start_soon(run, number, job)
    assert [results[number].error_class for number in range(3)] == [None, "wrong_answer", "syntax"]


async def test_the_fake_records_its_jobs():
    fake = FakeSandbox(script)
    await fake.run(RIGHT)
    await fake.run(HALF)
    assert fake.jobs == [RIGHT, HALF]
