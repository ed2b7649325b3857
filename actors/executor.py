"""The Executor: runs every distinct candidate, and the incumbent where it was not run before."""

from typing import Literal

import msgspec
import trio

from actors.incumbents import incumbent_before
from actors.messages import Executed, Generated
from protocols.identity import REFERENCE, derive
from protocols.ports import Job, JobResult, Ledger, Limits, Sandbox
from protocols.records import Execution, Task, Test, TestOutcome, WrittenTests


class Executor:
    """Step 2 of the method; the Critic runs its revisions through it as well.

    Args:
        limits: of one test.
        references: whether the data set's own answer is the first incumbent.
    """

    def __init__(
        self, sandbox: Sandbox, ledger: Ledger, *, limits: Limits, references: Literal["train", "anchor", "hidden"]
    ) -> None:
        self._sandbox = sandbox
        self._ledger = ledger
        self._limits = limits
        self._references: Literal["train", "anchor", "hidden"] = references

    async def execute(self, item: Generated) -> Executed:
        """Return what execution showed of each candidate and of the incumbent.

        Raises:
            SandboxError: the sandbox's own machinery failed.
        """
        task, round = item.task, item.round
        incumbent = await incumbent_before(self._ledger, task, round, self._references)
        subjects = {candidate.id: candidate.code for candidate in item.candidates}
        if incumbent is not None:
            subjects[incumbent.subject_id] = incumbent.code
        executions: dict[str, Execution] = {}

        async def run(subject_id: str, code: str | None) -> None:
            executions[subject_id] = await self.run(task, round, subject_id, code)

        async with trio.open_nursery() as nursery:
            for subject_id, code in subjects.items():
                nursery.start_soon(run, subject_id, code)
        return Executed(
            task=task,
            round=round,
            candidates=item.candidates,
            executions=executions,
            incumbent=incumbent,
            undecided=not task.tests,
        )

    async def run(self, task: Task, round: int, subject_id: str, code: str | None) -> Execution:
        """Return what running `code` shows, from the ledger if it was run before.

        Raises:
            SandboxError: the sandbox's own machinery failed.
        """
        known = await self._ledger.get(Execution, execution_id(task, subject_id, round))
        if known is not None:
            return known
        return await self.record(task, round, subject_id, await self.measure(task, code))

    async def record(self, task: Task, round: int, subject_id: str, result: JobResult) -> Execution:
        """Note what running a subject showed."""
        execution = make_execution(task, round, subject_id, result)
        await self._ledger.append(execution)
        return execution

    async def measure(self, task: Task, code: str | None) -> JobResult:
        """Run `code` against the task's tests without recording it (evaluations keep counts only).

        A task without tests is run against those that the policy wrote for it, which are evidence of another kind.

        Raises:
            SandboxError: the sandbox's own machinery failed.
        """
        if task.tests:
            return await self.measure_against(task, code, task.tests)
        written = await tests_written_for(self._ledger, task)
        result = await self.measure_against(task, code, written.tests if written is not None else ())
        return msgspec.structs.replace(result, evidence="consensus")

    async def measure_against(self, task: Task, code: str | None, tests: tuple[Test, ...]) -> JobResult:
        """Run `code`, an answer to `task`, against any `tests`, in one call of the sandbox.

        Raises:
            SandboxError: the sandbox's own machinery failed.
        """
        if code is None:
            return _no_code(tests)
        return await self._sandbox.run(
            Job(code=code, tests=tests, entry_point=task.entry_point, setup=task.setup, limits=self._limits)
        )


async def tests_written_for(ledger: Ledger, task: Task) -> WrittenTests | None:
    """Return the tests that the policy wrote for `task` in this run; None when there are none that can be used."""
    written = await ledger.find(WrittenTests, task_id=task.id)
    return next((record for record in written if record.tests), None)


def make_execution(task: Task, round: int, subject_id: str, result: JobResult) -> Execution:
    """Return the record of what running a subject showed."""
    return Execution(
        id=execution_id(task, subject_id, round),
        subject_id=subject_id,
        task_id=task.id,
        round=round,
        outcomes=result.outcomes,
        error_class=result.error_class,
        tier=result.tier,
        evidence=result.evidence,
        cpu_s=result.cpu_s,
        wall_s=result.wall_s,
        peak_bytes=result.peak_bytes,
        outcome=result.outcome,
        flaky=result.flaky,
    )


def execution_id(task: Task, subject_id: str, round: int = 0) -> str:
    """Return the id of the execution of one subject; a reference belongs to its task.

    The reference of a task without tests is run in each round, since tests may have been written meanwhile.
    """
    if subject_id != REFERENCE:
        return derive("execution", subject_id)
    return derive("execution", task.id, subject_id, *(() if task.tests else (round,)))


def _no_code(tests: tuple[Test, ...]) -> JobResult:
    outcome = TestOutcome(
        passed=False, error_class="missing_entry_point", message="the response holds no code", outcome="runtime_error"
    )
    return JobResult(
        outcomes=(outcome,) * len(tests),
        error_class="missing_entry_point",
        tier="none",
        evidence="tests",
        cpu_s=0.0,
        wall_s=0.0,
        peak_bytes=0,
        outcome=outcome.outcome,
    )
