"""Runs jobs on sandbox services elsewhere (SandboxFusion's protocol), and compares here.

Each test is a request of its own, so that a test that hangs or crashes costs only itself; the tests of a job run one
after another, and after two that timed out the rest count as timed out. A request goes to the healthy service with the
fewest in flight; one that fails by the service's fault is tried again, elsewhere where there is another.

What this does not do: it promises no isolation beyond what the service has; tests that run as code share the
candidate's process there (weak evidence); a program's hash seed is the service's own.
"""

import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from types import TracebackType
from typing import Self

import trio

from protocols.errors import SandboxError, SandboxUnavailable
from protocols.ports import Job, JobResult, Limits
from protocols.records import AssertTest, StdioTest
from sandbox.canaries import Probed, Tell
from sandbox.http_program import HttpProgram, ServiceFailed, flooded
from sandbox.http_service import AnswerTooLarge, HttpService
from sandbox.plan import Plan, Report, plan_of

TIER = "http"
_SPARE_S = 15.0
"""Beyond the test's own limit, for the service's queue and its start of a process."""
_PAUSE_S = 0.25
_MAX_TIMEOUTS = 2
_MAX_REQUEST_BYTES = 16 << 20
_NOT_RUN = Report(
    end="timeout", status=0, complete=False, cpu_s=0.0, peak_bytes=0, out="", err="", claim="", not_run=True
)
_PROBE_LIMITS = Limits(cpu_s=5.0, wall_s=5.0)
_PROBES = {
    "harmless function": Job(
        code="def f(x):\n    return x + 1\n",
        tests=(AssertTest(code="assert f(20) == 21"),),
        entry_point="f",
        limits=_PROBE_LIMITS,
    ),
    "harmless program": Job(
        code="print(sum(map(int, input().split())))",
        tests=(StdioTest(stdin="20 1\n", stdout="21\n"),),
        limits=_PROBE_LIMITS,
    ),
}

_Ask = Callable[[HttpProgram, float], Awaitable[Report]]


class HttpSandbox:
    """A `Sandbox` at one or more URLs; use it as an async context manager.

    Args:
        urls: base URLs of the services.
        at_once: jobs at the same time at each URL; others wait in order of arrival.
        connect_timeout_s: for one connection.
        tries: of one request, in all.
    """

    def __init__(
        self, urls: Sequence[str], *, at_once: int = 4, connect_timeout_s: float = 5.0, tries: int = 4
    ) -> None:
        self._services = [HttpService(url, at_once=at_once, connect_timeout_s=connect_timeout_s) for url in urls]
        self._limiter = trio.CapacityLimiter(at_once * len(self._services))
        self._tries = tries

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with trio.CancelScope(shield=True):
            for service in self._services:
                await service.aclose()

    @property
    def tier(self) -> str:
        """What isolation is called here: the service's own, whatever it is."""
        return TIER

    async def check(self, tell: Tell = lambda probed: None) -> str:
        """Make sure that every service answers and runs a harmless function and a harmless program.

        Raises:
            SandboxUnavailable: one does not; names it and what helps.
        """
        for service in self._services:
            await self._check_one(service, tell)
        return TIER

    async def _check_one(self, service: HttpService, tell: Tell) -> None:
        try:
            await service.ping()
            tell(Probed(f"{service.url} answers", "pass", True))
            for name, job in _PROBES.items():
                result = await self._run(job, partial(self._ask_one, service))
                held = result.error_class is None
                tell(Probed(f"{service.url} {name}", result.error_class or "pass", held))
                if not held:
                    raise ServiceFailed(f"the probe {name!r} gave {result.outcome}: {result.outcomes[0].message}")
        except ServiceFailed as error:
            raise SandboxUnavailable(
                f"The sandbox service at {service.url} cannot be used: {error}. What helps: start it, or mend "
                "sandbox.urls; it must speak SandboxFusion's protocol (GET /v1/ping, POST /run_code)."
            ) from error

    async def run(self, job: Job) -> JobResult:
        """Run `job`, as `protocols.ports.Sandbox` promises.

        Raises:
            SandboxError: no service could run it.
        """
        async with self._limiter:
            return await self._run(job, self._ask)

    async def _run(self, job: Job, ask: _Ask) -> JobResult:
        start = time.monotonic()
        plan = plan_of(job)
        if _largest_request(job) > _MAX_REQUEST_BYTES:
            return plan.refused(f"code and a test are over {_MAX_REQUEST_BYTES} bytes: not run", tier=TIER)
        reports = await self._reports(job, plan, ask)
        return plan.result(reports, tier=TIER, wall_s=time.monotonic() - start)

    async def _reports(self, job: Job, plan: Plan, ask: _Ask) -> list[Report]:
        reports: list[Report] = []
        timeouts = 0
        for planned in plan.tests:
            if timeouts >= _MAX_TIMEOUTS:
                reports.append(_NOT_RUN)
                continue
            program = HttpProgram(job, planned)
            reports.append(program.unsendable or await ask(program, job.limits.wall_s + _SPARE_S))
            timeouts += reports[-1].end == "timeout"
        return reports

    async def _ask(self, program: HttpProgram, timeout_s: float) -> Report:
        """Ask the least busy service, and others, or it again, where one fails."""
        problem = "none answers"
        for attempt in range(self._tries):
            service = await self._least_busy()
            if service is not None:
                try:
                    return await self._ask_one(service, program, timeout_s)
                except ServiceFailed as error:
                    problem = f"{service.url}: {error}"
            await trio.sleep(_PAUSE_S * 2**attempt)
        raise SandboxError(f"no sandbox service could run a job, {self._tries} times tried; at last {problem}")

    async def _least_busy(self) -> HttpService | None:
        for service in sorted(self._services, key=lambda service: (service.in_flight, service.asked)):
            if await service.ready():
                return service
        return None

    @staticmethod
    async def _ask_one(service: HttpService, program: HttpProgram, timeout_s: float) -> Report:
        try:
            return program.report(await service.run_code(program.body(), timeout_s))
        except AnswerTooLarge:
            return flooded()


def _largest_request(job: Job) -> int:
    """Return about how many bytes the longest request has."""
    tests = (len(test.code) if isinstance(test, AssertTest) else len(test.stdin) for test in job.tests)
    return len(job.code) + len(job.setup) + max(tests, default=0)
