"""Runs jobs in processes of their own: the thin Trio side of the sandbox.

For each job one runner (`sandbox.runner`) is started with an empty environment, in a scratch folder of its own and in
a process group of its own; it is told the job over a pipe and reports over another. Nothing here parses what a
candidate printed, and no expected value goes in unless a test has to run in process. On every way out, cancellation
included, the group is killed and reaped and the folder removed.

What this does not do: keep runners warm, filter system calls, or bound a job's memory as a whole (each process has its
own limit).
"""

import marshal
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import msgspec
import trio

from protocols.errors import SandboxError
from protocols.ports import Job, JobResult
from sandbox.bundle import ENVIRONMENT, FLAGS, START, build
from sandbox.canaries import Tell, probe
from sandbox.conversation import end, talk
from sandbox.plan import Plan, Report, plan_of, read_report, read_tier

_FIRST_USER_ID = 60_800
_USER_IDS = 380
_START_S = 30.0
_SPARE_PER_TEST_S = 2.0
_MIN_RESULT_BYTES = 1 << 20
_MAX_JOB_BYTES = 16 << 20


class ProcessSandbox:
    """A `Sandbox` that starts one isolated process tree for each job.

    Args:
        workers: jobs that run at the same time; others wait in order of arrival.
        interpreter: Python that runs the candidates; None is the one that runs this.
        scratch_folder: where the jobs' folders are made; None is the system's temporary folder.
    """

    def __init__(
        self, workers: int, interpreter: str | None = sys.executable, scratch_folder: Path | None = None
    ) -> None:
        self._limiter = trio.CapacityLimiter(workers)
        self._user_ids = [_FIRST_USER_ID + number % _USER_IDS for number in range(workers)]
        self._interpreter = interpreter or sys.executable
        self._scratch_folder = scratch_folder
        self._bundle = b""
        self._tier: str | None = None
        self._check = trio.Lock()

    @property
    def tier(self) -> str:
        """The isolation that `check` found; empty before it."""
        return self._tier or ""

    async def check(self, tell: Tell = lambda probed: None) -> str:
        """Run the canary programs, harmless and hostile, and return the tier that holds here.

        Args:
            tell: is told of each.

        Raises:
            SandboxUnavailable: a probe came out otherwise than it must; names it and what helps. Nothing is executed
                by `run` either then.
        """
        async with self._check:
            return await self._find_tier(tell)

    async def run(self, job: Job) -> JobResult:
        """Run `job`, as `protocols.ports.Sandbox` promises; the first call checks the sandbox if nobody has.

        Raises:
            SandboxUnavailable: as `check`.
            SandboxError: the runner could not be started, or did not report.
        """
        if self._tier is None:
            await self._check_once()
        result = await self._run_unchecked(job)
        if result.tier != self._tier:
            raise SandboxError(f"the sandbox ran a job as {result.tier!r} though {self._tier!r} was found at the start")
        return result

    async def _check_once(self) -> None:
        async with self._check:
            if self._tier is None:
                await self._find_tier()

    async def _find_tier(self, tell: Tell = lambda probed: None) -> str:
        self._tier = None
        self._bundle = await build(self._interpreter)
        self._tier = await probe(self._run_unchecked, tell)
        return self._tier

    async def _run_unchecked(self, job: Job) -> JobResult:
        async with self._limiter:
            user_id = self._user_ids.pop()
            try:
                return await self._execute(job, user_id)
            finally:
                self._user_ids.append(user_id)

    async def _execute(self, job: Job, user_id: int) -> JobResult:
        start = time.monotonic()
        plan = plan_of(job)
        request = _request(job, plan, user_id)
        if len(request) > _MAX_JOB_BYTES:
            return plan.refused(f"code and tests are over {_MAX_JOB_BYTES} bytes: not run", tier=self.tier)
        lines, errors = await self._converse(request, job, plan)
        reports = _reports(lines, errors)
        return plan.result(reports, tier=read_tier(lines[0]), wall_s=time.monotonic() - start)

    async def _converse(self, request: bytes, job: Job, plan: Plan) -> tuple[list[bytes], str]:
        deadline_s = _START_S + len(plan.tests) * (job.limits.wall_s + _SPARE_PER_TEST_S)
        async with self._scratch() as folder, self._runner(folder) as process:
            with trio.move_on_after(deadline_s):
                return await talk(process, self._bundle + request, _most_report_bytes(job, plan))
        raise SandboxError(f"the sandbox's runner did not finish within {deadline_s:.0f} s")

    @asynccontextmanager
    async def _scratch(self) -> AsyncGenerator[str]:
        folder = tempfile.mkdtemp(prefix="sandbox-", dir=self._scratch_folder)
        try:
            yield folder
        finally:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(partial(shutil.rmtree, folder, ignore_errors=True))

    @asynccontextmanager
    async def _runner(self, folder: str) -> AsyncGenerator[trio.Process]:
        try:
            process = await trio.lowlevel.open_process(
                [self._interpreter, *FLAGS, "-c", START],
                stdin=-1, stdout=-1, stderr=-1, cwd=folder, env=ENVIRONMENT, start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            raise SandboxError(f"the sandbox's interpreter {self._interpreter} cannot be started: {error}") from error
        try:
            yield process
        finally:
            await end(process)


def _request(job: Job, plan: Plan, user_id: int) -> bytes:
    request = {
        "code": job.code,
        "setup": job.setup,
        "entry_point": job.entry_point,
        "tests": [test.request() for test in plan.tests],
        "limits": msgspec.structs.asdict(job.limits),
        "result_bytes": _result_bytes(job),
        "user_id": user_id,
    }
    data = marshal.dumps(request, 2)
    return len(data).to_bytes(8, "big") + data


def _result_bytes(job: Job) -> int:
    return max(_MIN_RESULT_BYTES, job.limits.output_bytes)


def _most_report_bytes(job: Job, plan: Plan) -> int:
    """Return what an honest report may take: JSON makes up to twelve bytes of one that the candidate wrote."""
    return 4096 + len(plan.tests) * (4096 + 12 * (_result_bytes(job) + 2 * job.limits.output_bytes + (1 << 17)))


def _reports(lines: list[bytes], errors: str) -> list[Report]:
    """Return the reports on the tests; fewer than tests only when the candidate got the runner killed.

    Raises:
        SandboxError: the runner failed before any candidate's code could run, or says that it failed.
    """
    if not lines or errors:
        raise SandboxError(f"the sandbox's runner failed: {errors or 'it did not report'}")
    try:
        return [read_report(line) for line in lines[1:]]
    except (ValueError, TypeError) as error:
        raise SandboxError(f"the sandbox's runner reported something unreadable: {error}") from error
