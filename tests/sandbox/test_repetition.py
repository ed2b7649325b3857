"""A failure is run again: what then passes is flaky, and stays failed."""

from collections.abc import Callable

import pytest

from protocols.errors import SandboxError
from protocols.ports import Job, JobResult
from protocols.records import TestOutcome
from sandbox.classification import failure, success
from sandbox.fake import FakeSandbox
from sandbox.process import ProcessSandbox
from sandbox.repetition import RepeatingSandbox
from tests.sandbox.making import function_job

THREE = function_job("", "assert f(1) == 1", "assert f(2) == 2", "assert f(3) == 3")
WRONG = failure("wrong", "wrong_answer", "")
LATE = failure("timeout", "timeout", "")


def result_of(*outcomes: TestOutcome) -> JobResult:
    first = next((outcome for outcome in outcomes if not outcome.passed), success())
    return JobResult(
        outcomes=outcomes, error_class=first.error_class, outcome=first.outcome, tier="fake", evidence="tests",
        cpu_s=1.0, wall_s=2.0, peak_bytes=3,
    )  # fmt: skip


def in_turn(*results: JobResult) -> Callable[[Job], JobResult]:
    left = iter(results)
    return lambda job: next(left)


async def test_what_passes_is_run_once():
    fake = FakeSandbox(in_turn(result_of(success(), success(), success())))
    assert (await RepeatingSandbox(fake).run(THREE)).flaky is False
    assert len(fake.jobs) == 1


async def test_only_the_failed_tests_are_run_again():
    fake = FakeSandbox(in_turn(result_of(WRONG, success(), WRONG), result_of(WRONG, WRONG)))
    await RepeatingSandbox(fake).run(THREE)
    assert [job.tests for job in fake.jobs] == [THREE.tests, (THREE.tests[0], THREE.tests[2])]


async def test_a_test_that_then_passes_is_marked_and_stays_failed():
    fake = FakeSandbox(in_turn(result_of(WRONG, success(), WRONG), result_of(WRONG, success())))
    result = await RepeatingSandbox(fake).run(THREE)
    assert [(outcome.passed, outcome.flaky) for outcome in result.outcomes] == [
        (False, False),
        (True, False),
        (False, True),
    ]
    assert (result.flaky, result.outcome, result.error_class) == (True, "wrong", "wrong_answer")


async def test_a_failure_that_stays_is_not_flaky():
    fake = FakeSandbox(in_turn(result_of(WRONG, WRONG, WRONG), result_of(WRONG, LATE, WRONG)))
    assert (await RepeatingSandbox(fake).run(THREE)).flaky is False


async def test_costs_of_both_runs_are_told():
    fake = FakeSandbox(in_turn(result_of(WRONG, success(), success()), result_of(WRONG)))
    result = await RepeatingSandbox(fake).run(THREE)
    assert (result.cpu_s, result.wall_s, result.peak_bytes) == (2.0, 4.0, 3)


async def test_code_that_does_not_parse_is_not_run_again():
    fake = FakeSandbox(in_turn(result_of(*[failure("syntax", "syntax", "")] * 3)))
    assert (await RepeatingSandbox(fake).run(THREE)).outcome == "syntax"


async def test_of_several_timeouts_one_is_run_again():
    fake = FakeSandbox(in_turn(result_of(LATE, LATE, WRONG), result_of(success(), WRONG)))
    result = await RepeatingSandbox(fake).run(THREE)
    assert fake.jobs[1].tests == (THREE.tests[0], THREE.tests[2])
    assert [outcome.flaky for outcome in result.outcomes] == [True, False, False]


async def test_a_job_that_is_only_loaded_is_not_run_again():
    fake = FakeSandbox(in_turn(result_of()))
    assert (await RepeatingSandbox(fake).run(function_job("x"))).outcomes == ()


async def test_a_failure_of_the_sandbox_is_raised():
    def script(job: Job) -> JobResult:
        raise SandboxError("broken")

    with pytest.raises(SandboxError, match="broken"):
        await RepeatingSandbox(FakeSandbox(script)).run(THREE)


async def test_a_real_candidate_that_tosses_a_coin_is_found(sandbox: ProcessSandbox):
    code = "import os\ndef f(x):\n    return os.urandom(1)[0] % 2"
    repeating = RepeatingSandbox(sandbox)
    results = [await repeating.run(function_job(code, *["assert f(1) == 1"] * 8)) for _ in range(6)]
    assert any(result.flaky for result in results)
    assert all(not outcome.passed for result in results for outcome in result.outcomes if outcome.flaky)
