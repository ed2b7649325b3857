"""What `sandbox run` says of one program: as JSON for programs, as a few lines for people."""

import msgspec

from protocols.ports import JobResult
from protocols.records import ErrorClass, Evidence, OutcomeKind, TestOutcome


class TestAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What one test showed."""

    __test__ = False  # not a pytest class

    outcome: OutcomeKind
    error_class: ErrorClass | None
    message: str
    expected: str | None
    actual: str | None
    traceback: str
    cpu_s: float | None
    wall_s: float | None
    peak_bytes: int | None
    flaky: bool


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What a program showed."""

    outcome: OutcomeKind
    """Of the first test that failed, or `pass`."""
    passed: int
    total: int
    tier: str
    cpu_s: float
    wall_s: float
    peak_bytes: int
    tests: tuple[TestAnswer, ...]
    error_class: ErrorClass | None = None
    evidence: Evidence = "tests"
    flaky: bool = False
    message: str = ""
    """Why there is no verdict; empty when there is one."""


class BatchAnswer(Answer, frozen=True, kw_only=True):
    """What a program of a batch showed."""

    id: str | int
    """As the batch's line gives it; the line's number when it gives none."""


def answer_of(result: JobResult) -> Answer:
    """Return what `result` comes to."""
    return Answer(
        outcome=_kind(result.outcome, passed=result.error_class is None),
        passed=sum(outcome.passed for outcome in result.outcomes),
        total=len(result.outcomes),
        tier=result.tier,
        cpu_s=result.cpu_s,
        wall_s=result.wall_s,
        peak_bytes=result.peak_bytes,
        tests=tuple(map(_test_answer, result.outcomes)),
        error_class=result.error_class,
        evidence=result.evidence,
        flaky=result.flaky,
    )


def no_verdict(message: str, total: int) -> Answer:
    """Return the answer where the sandbox itself failed."""
    return Answer(
        outcome="sandbox_failure", passed=0, total=total, tier="", cpu_s=0.0, wall_s=0.0, peak_bytes=0, tests=(),
        message=message,
    )  # fmt: skip


def lines_of(answer: Answer) -> str:
    """Return the answer for people: one line, and a few for each test that failed."""
    if answer.outcome == "sandbox_failure":
        return f"sandbox_failure: {answer.message}"
    marks = (", evidence weak" if answer.evidence == "weak" else "") + (", flaky" if answer.flaky else "")
    lines = [
        f"{answer.outcome}: {answer.passed} of {answer.total} tests passed ({answer.tier}{marks}; "
        f"{answer.cpu_s:.3f} s CPU, {answer.wall_s:.3f} s, {answer.peak_bytes / 1e6:.0f} MB)"
    ]
    for number, test in enumerate(answer.tests, 1):
        if test.outcome != "pass":
            lines += _test_lines(number, test)
    return "\n".join(lines)


def _test_lines(number: int, test: TestAnswer) -> list[str]:
    lines = [f"  test {number}: {test.outcome}{' (flaky)' if test.flaky else ''}: {test.message}"]
    if test.expected is not None:
        lines += [f"    expected {test.expected}", f"    actual   {test.actual}"]
    return lines + [f"  {line}" for line in test.traceback.splitlines()[:-1]]


def _test_answer(outcome: TestOutcome) -> TestAnswer:
    return TestAnswer(
        outcome=_kind(outcome.outcome, passed=outcome.passed),
        error_class=outcome.error_class,
        message=outcome.message,
        expected=outcome.expected,
        actual=outcome.actual,
        traceback=outcome.traceback,
        cpu_s=outcome.cpu_s,
        wall_s=outcome.wall_s,
        peak_bytes=outcome.peak_bytes,
        flaky=outcome.flaky,
    )


def _kind(told: OutcomeKind | None, *, passed: bool) -> OutcomeKind:
    return told or ("pass" if passed else "runtime_error")
