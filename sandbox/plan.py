"""How each test of a job is run and judged, and how a report on it becomes an outcome. Pure.

A simple assert is a call judged outside, a program's output is compared outside, any other assert runs as code: weak
evidence where it shares the candidate's process. A job without tests is loaded once, so that code that cannot be
executed shows. Every back-end plans with `plan_of`, runs each test's `request()`, and hands its reports to
`Plan.result`.
"""

import signal
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from protocols.ports import Job, JobResult
from protocols.records import AssertTest, Evidence, StdioTest, Test, TestOutcome
from sandbox.classification import claimed_failure, failure, success
from sandbox.decoding import BadResult, parse
from sandbox.judging import CallForm, call_form, judge
from sandbox.output import first_difference, same_output

_SHOWN_OUTPUT = 400


@dataclass(frozen=True)
class Report:
    """What a back-end tells of one test. Its `claim`, `out` and `err` are the candidate's words, the rest is not."""

    end: str
    """`exit`, `signal`, `timeout`, `output_limit`, `memory` (killed for its real use), `violation`, or `lost` when what
    watched it died with it."""
    status: int
    """Exit status, or number of the signal."""
    complete: bool
    """Whether a test that runs as code came to its end (the run's token came back)."""
    cpu_s: float
    peak_bytes: int
    out: str
    err: str
    claim: str
    not_run: bool = False
    """Whether the test was skipped because others of its job had timed out."""
    wall_s: float = 0.0
    apart: bool = False
    """Whether a test that runs as code had a process of its own, so that the candidate could not forge its verdict."""


@dataclass(frozen=True)
class PlannedTest:
    """One test with the way it is judged."""

    test: Test | None
    """None: only load the candidate."""
    form: CallForm | None
    code: str = ""
    """The candidate's, for tracebacks."""

    @property
    def is_program(self) -> bool:
        """Whether it needs a process of its own, whose standard input, output and end are what is tested."""
        return isinstance(self.test, StdioTest)

    @property
    def runs_as_code(self) -> bool:
        """Whether the test's own code decides, so that it matters in which process it runs."""
        return isinstance(self.test, AssertTest) and self.form is None

    def request(self) -> dict[str, Any]:
        """Return what goes inside: never an expected value, unless the test runs as code."""
        match self.test:
            case None:
                return {"kind": "load"}
            case StdioTest(stdin=stdin):
                return {"kind": "program", "stdin": stdin}
            case AssertTest(code=code):
                return (
                    {"kind": "code", "code": code}
                    if self.form is None
                    else {"kind": "calls", "calls": [*self.form.calls]}
                )

    def outcome(self, report: Report) -> TestOutcome:
        """Return what the test showed."""
        return msgspec.structs.replace(
            self._verdict(report), cpu_s=report.cpu_s, wall_s=report.wall_s, peak_bytes=report.peak_bytes
        )

    def _verdict(self, report: Report) -> TestOutcome:
        if report.end != "exit":
            return _ended_by_force(report)
        match self.test:
            case StdioTest():
                return _program_outcome(self.test, report, self.code)
            case _ if self.form is not None and report.claim:
                return judge(self.form, report.claim, self.code)
            case _:
                return self._in_process_outcome(report)

    def _in_process_outcome(self, report: Report) -> TestOutcome:
        try:
            claim = parse(report.claim) if report.claim else {}
        except BadResult as error:
            return failure("bad_result", "other", f"the result could not be read: {error}")
        if "error" in claim:
            return claimed_failure(claim["error"], self.code, by_test=self.runs_as_code)
        if report.complete and self.form is None:
            return success()
        return failure("early_exit", "crash", f"early exit with status {report.status}, before the test was done")


@dataclass(frozen=True)
class Plan:
    """All tests of a job."""

    tests: tuple[PlannedTest, ...]
    wanted: int = field(kw_only=True)
    """How many of them the job asked for: none of a job that is only loaded."""

    def result(self, reports: Sequence[Report], *, tier: str, wall_s: float) -> JobResult:
        """Return what the job showed.

        Args:
            reports: one per planned test, in order.
            tier: the isolation it ran under.
            wall_s: of the whole job.
        """
        outcomes = [test.outcome(report) for test, report in zip(self.tests, reports, strict=True)]
        first = next((outcome for outcome in outcomes if not outcome.passed), success())
        return JobResult(
            outcomes=tuple(outcomes[: self.wanted]),
            error_class=first.error_class,
            outcome=first.outcome,
            tier=tier,
            evidence=self._evidence(reports),
            cpu_s=sum(report.cpu_s for report in reports),
            wall_s=wall_s,
            peak_bytes=max((report.peak_bytes for report in reports), default=0),
        )

    def refused(self, message: str, *, tier: str) -> JobResult:
        """Return the result of a job that is not run at all, for what it itself is."""
        outcome = failure("runtime_error", "other", message)
        return JobResult(
            outcomes=(outcome,) * self.wanted, error_class="other", outcome=outcome.outcome, tier=tier,
            evidence=self._evidence(()), cpu_s=0.0, wall_s=0.0, peak_bytes=0,
        )  # fmt: skip

    def _evidence(self, reports: Sequence[Report]) -> Evidence:
        apart = [report.apart for report in reports] + [False] * (len(self.tests) - len(reports))
        weak = any(test.runs_as_code and not alone for test, alone in zip(self.tests, apart, strict=True))
        return "weak" if weak else "tests"


def plan_of(job: Job) -> Plan:
    """Return how the job's tests are run and judged."""
    tests = tuple(
        PlannedTest(test, call_form(test.code, job.entry_point) if isinstance(test, AssertTest) else None, job.code)
        for test in job.tests
    )
    return Plan(tests or (PlannedTest(None, None, job.code),), wanted=len(job.tests))


def _ended_by_force(report: Report) -> TestOutcome:
    if report.not_run:
        return failure("timeout", "timeout", "not run: two tests of this job had timed out before")
    match report.end:
        case "timeout":
            return failure("timeout", "timeout", "the time limit was reached")
        case "output_limit":
            return failure("output_limit", "output_limit", "more output than allowed")
        case "memory":
            return failure("memory", "memory", "killed for using more memory than allowed")
        case "lost":
            return failure("crash", "crash", "the sandbox's slot was killed while the candidate ran")
        case "signal" if report.status != signal.SIGSYS:
            return failure("crash", "crash", f"killed by {_signal_name(report.status)}")
        case _:
            return failure("violation", "forbidden", "killed for a system call that is not allowed")


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _program_outcome(test: StdioTest, report: Report, code: str) -> TestOutcome:
    if report.status != 0 or '"error"' in report.claim:
        return _program_failure(report, code)
    if same_output(test, report.out):
        return success()
    return failure(
        "wrong", "wrong_answer",
        f"the output differs in line {first_difference(test.stdout, report.out)}",
        repr(test.stdout[:_SHOWN_OUTPUT]),
        repr(report.out[:_SHOWN_OUTPUT]),
    )  # fmt: skip


def _program_failure(report: Report, code: str) -> TestOutcome:
    try:
        error = parse(report.claim).get("error")
    except BadResult:
        error = None
    if error is not None:
        return claimed_failure(error, code)
    last_line = report.err.strip().rsplit("\n", 1)[-1]
    return failure("runtime_error", "crash", f"exit status {report.status}: {last_line}")
