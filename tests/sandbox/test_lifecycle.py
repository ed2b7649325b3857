"""What is left behind: nothing. Who waits: in order. What happens without isolation: nothing is run."""

import os
import signal
import sys
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
from tests.sandbox.environments import SYSTEM_PYTHON
from tests.sandbox.making import function_job, passed, processes_with

ROOT = Path(__file__).parents[2]
HARMLESS = function_job("def f(x):\n    return x + 1", "assert f(1) == 2")
SLEEPER = function_job("import time\ndef f(x):\n    time.sleep(600)", "assert f(1) == 2", limits=Limits(wall_s=300.0))


@pytest.fixture
def marker(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A variable in the environment of every process that is started from now on."""
    monkeypatch.setitem(bundle.ENVIRONMENT, "TZ", "MARK7241")
    yield "TZ=MARK7241"
    assert processes_with("TZ=MARK7241") == []


class TestNothingIsLeft:
    async def test_after_a_job_but_the_warm_slot_that_ran_it(self, marker: str, tmp_path: Path):
        async with ProcessSandbox(workers=1, scratch_folder=tmp_path) as sandbox:
            assert passed(await sandbox.run(HARMLESS)) == (True,)
            warm = processes_with(marker)
            assert 0 < len(warm) <= 4
            assert passed(await sandbox.run(HARMLESS)) == (True,)
            assert processes_with(marker) == warm
        assert processes_with(marker) == []
        assert os.listdir(tmp_path) == []

    async def test_after_a_cancelled_job(self, marker: str, tmp_path: Path):
        async with ProcessSandbox(workers=1, scratch_folder=tmp_path) as sandbox:
            await sandbox.check()
            warm = len(processes_with(marker))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(sandbox.run, SLEEPER)
                with trio.fail_after(30):
                    # Nothing tells when another program has forked a process.
                    while len(processes_with(marker)) == warm:  # noqa: ASYNC110
                        await trio.sleep(0.02)
                nursery.cancel_scope.cancel()
            assert len(processes_with(marker)) < warm + 1
            assert passed(await sandbox.run(HARMLESS)) == (True,)
        assert processes_with(marker) == []
        assert os.listdir(tmp_path) == []

    async def test_after_a_job_whose_test_hangs(self, marker: str, tmp_path: Path):
        async with ProcessSandbox(workers=1, scratch_folder=tmp_path) as sandbox:
            await sandbox.check()
            job = function_job("def f(x):\n    while True: pass", "assert f(1) == 2", limits=Limits(wall_s=0.3))
            assert (await sandbox.run(job)).error_class == "timeout"
            assert len(processes_with(marker)) <= 4
        assert processes_with(marker) == []
        assert os.listdir(tmp_path) == []

    @pytest.mark.parametrize("tier", ["namespaces", "landlock"])
    async def test_after_the_orchestrator_was_killed(self, marker: str, open_folder: Path, tier: str):
        program = (
            "import trio, os, signal\nfrom pathlib import Path\nfrom sandbox import bundle\n"
            "from sandbox.process import ProcessSandbox\nfrom tests.sandbox.test_lifecycle import HARMLESS\n"
            "bundle.ENVIRONMENT['TZ'] = 'MARK7241'\n"
            f"sandbox = ProcessSandbox(1, {SYSTEM_PYTHON!r}, Path({str(open_folder)!r}), tier={tier!r})\n"
            "trio.run(sandbox.run, HARMLESS)\nos.kill(os.getpid(), signal.SIGKILL)\n"
        )
        process = await trio.run_process([sys.executable, "-c", program], check=False, cwd=ROOT)
        assert process.returncode == -9
        with trio.fail_after(10):
            while processes_with(marker):  # noqa: ASYNC110  (nothing tells when somebody else's processes end)
                await trio.sleep(0.02)
        assert os.listdir(open_folder) == []


class TestSlots:
    async def test_a_slot_serves_job_after_job(self, sandbox: ProcessSandbox):
        others = _children()
        async with ProcessSandbox(workers=1) as one:
            await one.check()
            before = _children() - others
            for _ in range(3):
                await one.run(HARMLESS)
            assert len(before) == 1
            assert _children() - others == before

    async def test_a_slot_is_replaced_after_its_number_of_runs(self, monkeypatch: pytest.MonkeyPatch):
        others = _children()
        async with ProcessSandbox(workers=1) as one:
            await one.check()
            before = _children() - others
            monkeypatch.setattr("sandbox.process.RUNS_PER_SLOT", 1)
            for _ in range(3):
                assert passed(await one.run(HARMLESS)) == (True,)
            assert _children().isdisjoint(before)

    async def test_a_slot_that_died_idle_is_replaced_without_a_word(self):
        others = _children()
        async with ProcessSandbox(workers=1) as one:
            await one.check()
            for number in _children() - others:
                os.kill(number, signal.SIGKILL)
            assert passed(await one.run(HARMLESS)) == (True,)

    async def test_a_slot_that_dies_while_a_candidate_runs_is_told_as_its_crash(self, marker: str):
        others = _children()
        async with ProcessSandbox(workers=1) as one:
            await one.check()
            slots = _children() - others
            results: list[JobResult] = []

            async def run() -> None:
                results.append(await one.run(SLEEPER))

            async with trio.open_nursery() as nursery:
                warm = len(processes_with(marker))
                nursery.start_soon(run)
                with trio.fail_after(30):
                    # Nothing tells when another program has forked a process.
                    while len(processes_with(marker)) == warm:  # noqa: ASYNC110
                        await trio.sleep(0.02)
                for number in slots:
                    os.killpg(number, signal.SIGKILL)
            assert results[0].error_class == "crash"
            assert passed(await one.run(HARMLESS)) == (True,)


def _children() -> set[int]:
    lists = Path("/proc/self/task").glob("*/children")
    return {int(number) for children in lists for number in children.read_text().split()}


class TestWaiting:
    async def test_jobs_beyond_the_workers_wait_in_order(self, sandbox: ProcessSandbox):
        done: list[int] = []
        async with ProcessSandbox(workers=1) as one:
            await one.check()

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
        assert tier.split("+")[0] == "namespaces"
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
                tier="namespaces+uid",
                evidence="tests",
                cpu_s=0.0,
                wall_s=0.0,
                peak_bytes=0,
            )

        with pytest.raises(SandboxUnavailable, match=name):
            await probe(FakeSandbox(script).run)

    async def test_a_slot_that_fails_is_the_sandboxes_fault(self, monkeypatch: pytest.MonkeyPatch):
        async with ProcessSandbox(workers=1) as sandbox:
            await sandbox.check()
            await sandbox.aclose()
            monkeypatch.setattr("sandbox.slot.START", "import sys; sys.exit('broken')")
            with pytest.raises(SandboxError, match="broken"):
                await sandbox.run(HARMLESS)

    async def test_a_job_that_gets_less_isolation_than_the_check_found_is_refused(
        self, monkeypatch: pytest.MonkeyPatch
    ):
        async with ProcessSandbox(workers=1) as sandbox:
            await sandbox.check()
            monkeypatch.setattr(sandbox, "_tier", "namespaces+more")
            with pytest.raises(SandboxError, match="namespaces\\+more"):
                await sandbox.run(HARMLESS)
