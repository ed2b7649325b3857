"""Records for these tests, made from what matters in each."""

from protocols.records import (
    AssertTest,
    Candidate,
    ErrorClass,
    Evidence,
    Execution,
    Incumbent,
    Origin,
    Task,
    TestOutcome,
    Verdict,
)


def task(id: str = "t", *, instruction: str = "Add two numbers.", reference: str | None = None) -> Task:
    return Task(
        id=id,
        kind="function",
        instruction=instruction,
        entry_point="f",
        reference=reference,
        tests=(AssertTest(code="assert f(1, 1) == 2"),),
    )


def candidate(
    id: str, *, code: str | None = "def f(a, b):\n    return a + b", index: int = 0, count: int = 1
) -> Candidate:
    return Candidate(
        id=id,
        task_id="t",
        round=1,
        version=0,
        index=index,
        text=code or "words",
        code=code,
        finish_reason="stop",
        temperatures=(0.8,) * count,
    )


def execution(id: str, marks: str, *, error_class: ErrorClass | None = None, evidence: Evidence = "tests") -> Execution:
    """Return an execution whose tests passed where `marks` has a `1`."""
    first = error_class or ("wrong_answer" if "0" in marks else None)
    return Execution(
        id=f"x-{id}",
        subject_id=id,
        task_id="t",
        round=1,
        outcomes=tuple(TestOutcome(passed=mark == "1", error_class=None if mark == "1" else first) for mark in marks),
        error_class=first,
        tier="fake",
        evidence=evidence,
        cpu_s=0.0,
        wall_s=0.0,
        peak_bytes=0,
    )


def incumbent(id: str = "reference", origin: Origin = "reference") -> Incumbent:
    return Incumbent(subject_id=id, origin=origin, code="def f(a, b):\n    return b + a")


def verdict(left: str, right: str, choice: str, *, judge: str = "j", **perspectives: str) -> Verdict:
    return Verdict(
        id=f"{left}-{right}",
        task_id="t",
        round=1,
        judge=judge,
        left_id=left,
        right_id=right,
        choice=choice,  # pyright: ignore[reportArgumentType]
        perspectives=perspectives,  # pyright: ignore[reportArgumentType]
        answer="",
        prompt_tokens=0,
        completion_tokens=0,
        seconds=0.0,
    )
