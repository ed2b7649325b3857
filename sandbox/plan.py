"""How each test of a job is run and judged, and how a runner's report on it becomes an outcome. Pure.

A simple assert is a call judged outside, a program's output is compared outside, any other assert runs in process and
is weak evidence. A job without tests is loaded once, so that code that cannot be executed shows.
"""

import json
import signal
from dataclasses import dataclass
from typing import Any, cast

from protocols.ports import Job
from protocols.records import AssertTest, Evidence, StdioTest, Test, TestOutcome
from sandbox.classification import claimed_failure, failure
from sandbox.decoding import BadResult, parse
from sandbox.judging import CallForm, call_form, judge, same_output


@dataclass(frozen=True)
class Report:
    """What the runner tells of one test. Its `claim`, `out` and `err` are the candidate's words, the rest is not."""

    end: str
    """`exit`, `signal`, `timeout` or `output_limit`."""
    status: int
    """Exit status, or number of the signal."""
    complete: bool
    """Whether an in-process test ran to its end (the runner's token came back)."""
    cpu_s: float
    peak_bytes: int
    out: str
    err: str
    claim: str
    not_run: bool = False
    """Whether the test was skipped because others of its job had timed out."""


def read_report(line: bytes) -> Report:
    """Return one line of the runner's report.

    Raises:
        ValueError, TypeError: it is not one.
    """
    return Report(**json.loads(line))


def read_tier(line: bytes) -> str:
    """Return the tier that the first line of a runner's report tells.

    Raises:
        ValueError, KeyError: it is not such a line.
    """
    return str(json.loads(line)["tier"])


@dataclass(frozen=True)
class PlannedTest:
    """One test with the way it is judged."""

    test: Test | None
    """None: only load the candidate."""
    form: CallForm | None

    @property
    def weak(self) -> bool:
        """Whether the verdict is made inside the candidate's process."""
        return isinstance(self.test, AssertTest) and self.form is None

    def request(self) -> dict[str, Any]:
        """Return what the runner is told: never an expected value, unless the test has to run in process."""
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
        if report.end != "exit":
            return _ended_by_force(report)
        match self.test:
            case StdioTest(stdout=stdout):
                return _program_outcome(stdout, report)
            case _ if self.form is not None and report.claim:
                return judge(self.form, report.claim)
            case _:
                return _in_process_outcome(report, trusted=self.form is None)


@dataclass(frozen=True)
class Plan:
    """All tests of a job."""

    tests: tuple[PlannedTest, ...]

    @property
    def evidence(self) -> Evidence:
        """`tests` when every test is judged outside, else `weak`."""
        return "weak" if any(test.weak for test in self.tests) else "tests"


def plan_of(job: Job) -> Plan:
    """Return how the job's tests are run and judged."""
    tests = tuple(
        PlannedTest(test, call_form(test.code, job.entry_point) if isinstance(test, AssertTest) else None)
        for test in job.tests
    )
    return Plan(tests or (PlannedTest(None, None),))


def _ended_by_force(report: Report) -> TestOutcome:
    if report.not_run:
        return failure("timeout", "not run: two tests of this job had timed out before")
    if report.end == "timeout":
        return failure("timeout", "the time limit was reached")
    if report.end == "output_limit":
        return failure("output_limit", "more output than allowed")
    return failure("crash", f"killed by {_signal_name(report.status)}")


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _program_outcome(expected: str, report: Report) -> TestOutcome:
    if report.status != 0 or '"error"' in report.claim:
        return _program_failure(report)
    if same_output(expected, report.out):
        return TestOutcome(passed=True)
    return failure("wrong_answer", "the output differs", repr(expected[:400]), repr(report.out[:400]))


def _program_failure(report: Report) -> TestOutcome:
    try:
        error = parse(report.claim).get("error")
    except BadResult:
        error = None
    if error is not None:
        return claimed_failure(error)
    last_line = report.err.strip().rsplit("\n", 1)[-1]
    return failure("crash", f"exit status {report.status}: {last_line}")


def _in_process_outcome(report: Report, *, trusted: bool) -> TestOutcome:
    try:
        claim = parse(report.claim) if report.claim else {}
    except BadResult as error:
        return failure("other", f"the result could not be read: {error}")
    if "error" in claim:
        return claimed_failure(cast(object, claim["error"]))
    if report.complete and trusted:
        return TestOutcome(passed=True)
    return failure("crash", f"early exit with status {report.status}, before the test was done")
