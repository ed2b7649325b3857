"""What is left behind: nothing. Who waits: in order. What happens without isolation: nothing is run."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from protocols.errors import SandboxError, SandboxUnavailable
from protocols.ports import Job, JobResult, Limits
from protocols.records import TestOutcome
from sandbox import bundle
from sandbox.canaries import CANARIES, probe
from sandbox.fake import FakeSandbox
from sandbox.process import ProcessSandbox
from tests.sandbox.making import function_job, passed, processes_with

HARMLESS = function_job("def f(x):\n    return x + 1", "assert f(1) == 2")
SLEEPER = function_job("import time\ndef f(x):\n    time.sleep(600)", "assert f(1) == 2", limits=Limits(wall_s=300.0))


@pytest.fixture
def marker(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A variable in the environment of every process that is started from now on."""
    monkeypatch.setitem(bundle.ENVIRONMENT, "TZ", "MARK7241")
    yield "TZ=MARK7241"
    assert processes_with("TZ=MARK7241") == []


class TestNothingIsLeft:
    async def test_after_a_job(self, marker: str, tmp_path: Path):
        sandbox = ProcessSandbox(workers=1, scratch_folder=tmp_path)
        assert passed(await sandbox.run(HARMLESS)) == (True,)
        assert processes_with(marker) == []
        assert os.listdir(tmp_path) == []

    async def test_after_a_cancelled_job(self, marker: str, tmp_path: Path):
        sandbox = ProcessSandbox(workers=1, scratch_folder=tmp_path)
        await sandbox.check()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sandbox.run, SLEEPER)
            with trio.fail_after(30):
                # Nothing tells when another program has started its children.
                while len(processes_with(marker)) < 3:  # noqa: ASYNC110
                    await trio.sleep(0.02)
            assert os.listdir(tmp_path) != []
            nursery.cancel_scope.cancel()
        assert processes_with(marker) == []
        assert os.listdir(tmp_path) == []
        assert passed(await sandbox.run(HARMLESS)) == (True,)

    async def test_after_a_job_whose_test_hangs(self, marker: str, tmp_path: Path):
        sandbox = ProcessSandbox(workers=1, scratch_folder=tmp_path)
        job = function_job("def f(x):\n    while True: pass", "assert f(1) == 2", limits=Limits(wall_s=0.3))
        assert (await sandbox.run(job)).error_class == "timeout"
        assert processes_with(marker) == []
        assert os.listdir(tmp_path) == []


class TestWaiting:
    async def test_jobs_beyond_the_workers_wait_in_order(self, sandbox: ProcessSandbox):
        one = ProcessSandbox(workers=1)
        await one.check()
        done: list[int] = []

        async def run(number: int) -> None:
            await one.run(HARMLESS)
            done.append(number)

        async with trio.open_nursery() as nursery:
            for number in range(4):
                nursery.start_soon(run, number)
                await wait_all_tasks_blocked()
        assert done == [0, 1, 2, 3]

    async def test_many_jobs_at_once_all_come_back(self, sandbox: ProcessSandbox):
        results: list[JobResult] = []

        async def run() -> None:
            results.append(await sandbox.run(HARMLESS))

        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(run)
        assert [passed(result) for result in results] == [(True,)] * 20


class TestWithoutIsolation:
    async def test_the_check_tells_the_tier(self, sandbox: ProcessSandbox):
        tier = await sandbox.check()
        assert tier.split("+")[0] == "process"
        assert sandbox.tier == tier

    async def test_an_interpreter_that_cannot_be_started(self):
        with pytest.raises(SandboxUnavailable, match="no-such-python"):
            await ProcessSandbox(workers=1, interpreter="/no-such-python").check()

    async def test_a_job_is_not_run_when_the_check_fails(self):
        with pytest.raises(SandboxUnavailable):
            await ProcessSandbox(workers=1, interpreter="/bin/false").run(HARMLESS)

    @pytest.mark.parametrize("name", sorted({canary.name for canary in CANARIES}))
    async def test_every_canary_can_fail_the_check_and_is_named(self, name: str):
        codes = {canary.code for canary in CANARIES if canary.name == name}

        def script(job: Job) -> JobResult:
            canary = next(canary for canary in CANARIES if canary.code == job.code)
            wanted = canary.wanted[0]
            unwanted = "value" if canary.code in codes else wanted
            outcome = TestOutcome(passed=unwanted is None, error_class=unwanted, message="came")
            return JobResult(
                outcomes=(outcome,),
                error_class=unwanted,
                tier="process+uid+net+pid+files",
                evidence="tests",
                cpu_s=0.0,
                wall_s=0.0,
                peak_bytes=0,
            )

        with pytest.raises(SandboxUnavailable, match=name):
            await probe(FakeSandbox(script).run)

    async def test_a_runner_that_fails_is_the_sandboxes_fault(self, monkeypatch: pytest.MonkeyPatch):
        sandbox = ProcessSandbox(workers=1)
        await sandbox.check()
        monkeypatch.setattr("sandbox.process.START", "import sys; sys.exit('broken')")
        with pytest.raises(SandboxError, match="broken"):
            await sandbox.run(HARMLESS)

    async def test_a_job_that_gets_less_isolation_than_the_check_found_is_refused(
        self, monkeypatch: pytest.MonkeyPatch
    ):
        sandbox = ProcessSandbox(workers=1)
        await sandbox.check()
        monkeypatch.setattr(sandbox, "_tier", "process+more")
        with pytest.raises(SandboxError, match="process\\+more"):
            await sandbox.run(HARMLESS)
