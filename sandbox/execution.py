"""One job on one slot: which tests share a process, and what becomes of those whose process ended under them.

All call tests of a function run in one process, one after another; each case of a program has its own. A test whose
own code has to run does so in another slot, with a stand-in for the candidate; only if that fails because something
else than plain data would have to pass, it runs in the candidate's process, and the evidence is weak. A test that
hangs, crashes or floods costs only itself: those after it get a fresh process. After two that timed out the rest count
as timed out without being run. A job that is given up half-way keeps what it has finished.
"""

import contextlib
import json
import os
import signal
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

import trio

from protocols.errors import SandboxError
from protocols.ports import Job
from sandbox.conversation import converse
from sandbox.inside.frames import FRESH
from sandbox.plan import Plan, PlannedTest, Report
from sandbox.slot import Answer, RunAnswer, RunRequest, SetUpFailed, Slot, SlotDied

MAX_TIMEOUTS = 2
MAX_JOB_BYTES = 16 << 20
_MIN_RESULT_BYTES = 1 << 20
_SPARE_S = 2.0
_STOP_AGAIN_S = 0.05


class OutOfTurn(Exception):
    """The job has used up its turn and is not done."""


class Progress:
    """A job on its way: what is known of its tests so far."""

    def __init__(self, job: Job, plan: Plan) -> None:
        self.reports: list[Report] = []
        self.cpu_s = 0.0
        """Of all processes, those that were given up included."""
        self.violated = False
        """Whether a process was killed for a forbidden system call."""
        self._job = job
        self._plan = plan
        self._timeouts = 0
        self._stopped = False
        self._token = ""
        self._in_process: set[int] = set()
        """Tests whose candidate cannot be reached by plain data alone."""

    @property
    def timed_out(self) -> bool:
        """Whether some test used up its time."""
        return self._timeouts > 0

    async def advance(
        self, slot: Slot, lend: Callable[[], AbstractAsyncContextManager[Slot]], end: Callable[[], Awaitable[None]]
    ) -> None:
        """Run the tests that are left.

        Args:
            slot: for the candidate.
            lend: gives a slot for tests, one that never runs candidates; used when a test's own code has to run.
            end: returns when the turn is over.

        Raises:
            OutOfTurn: the turn is over; call again to go on.
            SlotDied: while a test ran, which counts as crashed; call again, with another slot, to go on.
            SetUpFailed, SandboxError: as `Slot.run`.
        """
        failure: Exception | None = None
        self._stopped = False
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._stop_at, end, slot)
            try:
                await self._run_all(slot, lend)
            except (OutOfTurn, SlotDied, SetUpFailed, SandboxError) as error:
                failure = error
            nursery.cancel_scope.cancel()
        if failure is not None:
            raise failure

    async def _stop_at(self, end: Callable[[], Awaitable[None]], slot: Slot) -> None:
        await end()
        self._stopped = True
        with contextlib.suppress(SlotDied):
            while True:  # what comes between two runs is lost
                await slot.stop()
                await trio.sleep(_STOP_AGAIN_S)

    async def _run_all(self, slot: Slot, lend: Callable[[], AbstractAsyncContextManager[Slot]]) -> None:
        while tests := self._next_tests():
            if self._timeouts >= MAX_TIMEOUTS:
                self.reports += [_NOT_RUN] * (len(self._plan.tests) - len(self.reports))
                return
            if self._stopped:
                raise OutOfTurn
            try:
                if tests[0].runs_as_code and len(self.reports) not in self._in_process:
                    async with lend() as tests_slot:
                        await self._run_apart(tests[0], slot, tests_slot)
                else:
                    await self._run_together(tests, slot)
            except SlotDied:
                self._add(_LOST)
                raise

    def _next_tests(self) -> Sequence[PlannedTest]:
        left = self._plan.tests[len(self.reports) :]
        for number, test in enumerate(left):
            if test.is_program or test.runs_as_code:
                return left[: max(1, number)]
        return left

    async def _run_together(self, tests: Sequence[PlannedTest], slot: Slot) -> None:
        answer = await slot.run(self._request(tests, [test.request() for test in tests]))
        self._take(answer, tests)
        if answer.over.end == "turn":
            raise OutOfTurn

    async def _run_apart(self, test: PlannedTest, slot: Slot, tests_slot: Slot) -> None:
        serving = self._request([test], [{"kind": "serve"}], talking=True)
        testing = self._request([test], [{**test.request(), "kind": "remote"}], talking=True)
        result = await converse(slot, serving, tests_slot, testing)
        self._account(result.candidate)
        self._account(result.tests)
        if result.out_of_turn:
            raise OutOfTurn
        if result.candidate_ended:
            self._add(
                self._report((*result.candidate.tests, result.candidate.over)[0], result.candidate.over, apart=True)
            )
            return
        answer = (*result.tests.tests, result.tests.over)[0]
        report = self._report(
            answer, result.candidate.over, apart=True, cpu_s=answer.cpu_s + result.candidate.over.cpu_s
        )
        if _needs_one_process(report.claim):
            self._in_process.add(len(self.reports))
        else:
            self._add(report)

    def _request(
        self, tests: Sequence[PlannedTest], requests: list[dict[str, Any]], talking: bool = False
    ) -> RunRequest:
        job, limits = self._job, self._job.limits
        self._token = os.urandom(16).hex()
        return RunRequest(
            payload={
                # The test's side of a conversation has no use for the candidate, nor the candidate's for the set-up.
                "code": "" if requests[0]["kind"] == "remote" else job.code,
                "setup": "" if requests[0]["kind"] == "serve" else job.setup,
                "entry_point": job.entry_point,
                "tests": requests,
                "token": self._token,
            },
            wall_s=limits.wall_s,
            cpu_s=limits.cpu_s,
            turn_s=len(tests) * limits.wall_s + _SPARE_S,
            memory_bytes=limits.memory_bytes,
            output_bytes=limits.output_bytes,
            result_bytes=max(_MIN_RESULT_BYTES, limits.output_bytes),
            file_bytes=limits.file_bytes,
            threads=limits.processes,
            tests=len(tests),
            is_program=tests[0].is_program,
            is_talking=talking,
        )

    def _take(self, answer: RunAnswer, tests: Sequence[PlannedTest]) -> None:
        over = answer.over
        self._account(answer)
        for test in answer.tests:
            self._add(self._report(test, over))
        asks_for_fresh = over.end == "exit" and over.claim == FRESH and len(answer.tests) > 0
        if len(answer.tests) < len(tests) and over.end != "turn" and not asks_for_fresh:
            self._add(self._report(over, over))

    def _account(self, answer: RunAnswer) -> None:
        self.cpu_s += sum(part.cpu_s for part in (*answer.tests, answer.over))

    def _report(self, answer: Answer, over: Answer, *, apart: bool = False, cpu_s: float | None = None) -> Report:
        claim = answer.claim.decode("utf-8", "surrogateescape")
        return Report(
            end="violation" if answer.end == "signal" and answer.status == signal.SIGSYS else answer.end,
            status=answer.status,
            complete=claim.rstrip("\n").endswith(f'"token":"{self._token}"}}'),
            cpu_s=answer.cpu_s if cpu_s is None else cpu_s,
            wall_s=answer.wall_s,
            peak_bytes=over.peak_bytes,
            out=answer.out.decode("utf-8", "surrogateescape"),
            err=answer.err.decode("utf-8", "surrogateescape"),
            claim=claim,
            apart=apart,
        )

    def _add(self, report: Report) -> None:
        self.reports.append(report)
        self._timeouts += report.end == "timeout"
        self.violated = self.violated or report.end == "violation"


_NOT_RUN = Report(
    end="timeout", status=0, complete=False, cpu_s=0.0, peak_bytes=0, out="", err="", claim="", not_run=True
)
_LOST = Report(end="lost", status=0, complete=False, cpu_s=0.0, peak_bytes=0, out="", err="", claim="")


def _needs_one_process(claim: str) -> bool:
    """Whether the test's process says that what it needs cannot pass as data."""
    try:
        return json.loads(claim)["error"]["stage"] == "not_data"
    except (ValueError, TypeError, KeyError):
        return False
