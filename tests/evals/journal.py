"""A small run, record by record: two versions promoted, one refused."""

from ledger.queries import Entry
from protocols.prompts import PERSPECTIVES
from protocols.records import (
    AssertTest,
    Batch,
    Candidate,
    ConsensusTrial,
    Critique,
    Decision,
    ErrorClass,
    Evaluation,
    EvaluationPurpose,
    Example,
    ExampleKind,
    Execution,
    FilterCount,
    Generation,
    LedgerRecord,
    Origin,
    PolicyVersion,
    Rubric,
    Score,
    TaskResult,
    TestOutcome,
    TrainingReport,
    Verdict,
    VersionState,
    WrittenTests,
)

REFUSAL = "gate pass@1 0.500 -> 0.250, difference -0.250: it fell by more than 0.050"


def candidate(name: str, version: int, temperatures: tuple[float, ...], *, task_id: str = "t1") -> Candidate:
    return Candidate(
        id=name,
        task_id=task_id,
        round=version + 1,
        version=version,
        index=0,
        text="",
        code="",
        finish_reason="stop",
        temperatures=temperatures,
    )


def execution(subject: str, passed: int, of: int, error: ErrorClass | None, *, task_id: str = "t1") -> Execution:
    outcomes = [TestOutcome(passed=number < passed) for number in range(of)]
    return Execution(
        id=f"execution of {subject} for {task_id}",
        subject_id=subject,
        task_id=task_id,
        round=1,
        outcomes=tuple(outcomes),
        error_class=error,
        tier="A",
        evidence="tests",
        cpu_s=0.1,
        wall_s=0.5,
        peak_bytes=1,
    )


def verdict(left: str, right: str, choice: str, *, judge: str = "j", task_id: str = "t1") -> Verdict:
    return Verdict(
        id=f"{judge} {task_id} {left} {right}",
        task_id=task_id,
        round=1,
        judge=judge,
        left_id=left,
        right_id=right,
        choice=choice,  # pyright: ignore[reportArgumentType]
        perspectives={},
        answer="",
        prompt_tokens=100,
        completion_tokens=10,
        seconds=2.0,
    )


def example(name: str, version: int, kind: ExampleKind, origin: Origin) -> Example:
    return Example(
        id=name,
        task_id="t1",
        round=version + 1,
        version=version,
        kind=kind,
        origin=origin,
        pattern="",
        messages=(),
        code="",
    )


def critique(name: str, candidate_id: str, *, verified: bool) -> Critique:
    return Critique(
        id=name,
        task_id="t1",
        round=1,
        candidate_id=candidate_id,
        critic="c",
        pattern="wrong_answer@0",
        text="",
        revision="",
        verified=verified,
        prompt_tokens=50,
        completion_tokens=5,
        seconds=1.0,
    )


def evaluation(
    purpose: EvaluationPurpose, version: int, correct: tuple[int, ...], low: float = 0, high: float = 1
) -> Evaluation:
    results = tuple(TaskResult(task_id=f"e{n}", samples=4, correct=count) for n, count in enumerate(correct))
    return Evaluation(
        id=f"{purpose} {version}",
        purpose=purpose,
        version=version,
        round=version,
        results=results,
        pass_at_1=sum(correct) / (4 * len(correct)),
        low=low,
        high=high,
        pass_at_k={1: sum(correct) / (4 * len(correct)), 4: sum(count > 0 for count in correct) / len(correct)},
        executable_share=0.9,
        prompt_tokens=20,
        completion_tokens=30,
        seconds=4.0,
    )


def version(number: int, state: VersionState, reason: str = "", canary: float | None = None) -> PolicyVersion:
    return PolicyVersion(
        id=f"version {number}",
        number=number,
        name=f"v{number:04}-abc" if number else "base",
        parent=min(1, number - 1) if number else None,
        state=state,
        reason=reason,
        adapter=f"adapters/v{number:04}-abc" if number else None,
        merged=None,
        batch_id=f"batch {number}" if number else None,
        content_hash=None,
        probes=(),
        canary=canary,
    )


def batch(number: int, examples: tuple[str, ...], replayed: int) -> Batch:
    return Batch(id=f"batch {number}", number=number, round=number, version=0, example_ids=examples, replayed=replayed)


def training(number: int, losses: tuple[float, ...]) -> TrainingReport:
    return TrainingReport(
        id=f"batch {number}",
        round=number,
        version=number,
        adapter=f"adapters/v{number:04}-abc",
        merged=None,
        content_hash="",
        losses=losses,
        examples=3,
        dropped=0,
        steps=len(losses),
        tokens=1000,
        loss_tokens=400,
        seconds=10.0,
        peak_bytes=1,
        probes=(),
    )


def decision(name: str, *kinds: str) -> Decision:
    return Decision(
        id=name,
        task_id=name,
        round=1,
        version=0,
        kinds=kinds,  # pyright: ignore[reportArgumentType]
        incumbent=None,
        answer_id=None,
        critique_ids=(),
        scores=(),
    )


def score(subject: str, share: float) -> Score:
    return Score(subject_id=subject, execution_share=share, win_rate=None, weight=0.0, value=share)


def rubric(subject: str, mark: int | None) -> Rubric:
    return Rubric(
        id=f"rubric of {subject}",
        task_id="t1",
        round=1,
        judge="j",
        subject_id=subject,
        marks=None if mark is None else dict.fromkeys(PERSPECTIVES, mark),
        answer="",
        prompt_tokens=50,
        completion_tokens=5,
        seconds=1.0,
    )


def written(name: str, version: int, tests: int, *, dropped: int = 0, unusable: int = 0) -> WrittenTests:
    made = [AssertTest(code=f"assert f({number})") for number in range(tests + dropped)]
    return WrittenTests(
        id=name,
        task_id=name,
        round=1,
        version=version,
        tests=tuple(made[:tests]),
        dropped=tuple(made[tests:]),
        unusable=unusable,
    )


def trial(
    name: str,
    version: int,
    *,
    consensus: float,
    random: float,
    majority: float,
    right: int | None,
    decided: bool = True,
) -> ConsensusTrial:
    return ConsensusTrial(
        id=name,
        task_id=name,
        round=1,
        version=version,
        tests=4,
        right_tests=right,
        groups=2,
        decided=decided,
        consensus=consensus,
        random=random,
        majority=majority,
    )


def generation(name: str, version: int) -> Generation:
    return Generation(
        id=name,
        task_id="t1",
        round=1,
        version=version,
        responses=4,
        prompt_tokens=10,
        completion_tokens=200,
        seconds=3.0,
    )


def small_run() -> list[LedgerRecord]:
    return [
        version(0, "base"),
        evaluation("gate", 0, (4, 0)),
        evaluation("held_out", 0, (2, 0, 1, 1), 0.1, 0.4),
        candidate("good", 0, (0.2, 0.8)),
        candidate("bad", 0, (0.8,)),
        candidate("broken", 0, (0.8,)),
        generation("g1", 0),
        execution("reference", 4, 4, None),
        execution("good", 4, 4, None),
        execution("bad", 1, 4, "wrong_answer"),
        execution("broken", 0, 4, "syntax"),
        verdict("bad", "reference", "right"),
        verdict("reference", "bad", "left"),
        verdict("good", "reference", "left"),
        verdict("reference", "good", "left"),
        verdict("bad", "reference", "abstain", judge="k"),
        verdict("reference", "bad", "left", judge="k"),
        decision("d1", "replace", "critique"),
        decision("d2", "skip"),
        critique("q1", "bad", verified=True),
        critique("q2", "broken", verified=False),
        example("x1", 0, "answer", "self"),
        example("x2", 0, "critique", "critic"),
        FilterCount(id="f1", task_id="t1", round=1, reason="duplicate"),
        batch(1, ("x1", "x2"), 0),
        training(1, (2.0, 1.5, 1.0)),
        evaluation("gate", 1, (4, 0)),
        version(1, "promoted", "no fall", canary=0.03),
        evaluation("held_out", 1, (2, 2, 2, 2), 0.3, 0.7),
        candidate("later", 1, (0.8, 0.8), task_id="t2"),
        execution("reference", 0, 2, "timeout", task_id="t2"),
        execution("later", 2, 2, None, task_id="t2"),
        verdict("later", "reference", "right", task_id="t2"),
        verdict("reference", "later", "left", task_id="t2"),
        example("x3", 1, "answer", "self"),
        batch(2, ("x3", "x1"), 1),
        training(2, (1.4, 0.9)),
        evaluation("gate", 2, (2, 0)),
        version(2, "rejected", REFUSAL, canary=0.04),
    ]


def entries(records: list[LedgerRecord]) -> list[Entry[LedgerRecord]]:
    return [Entry(number, 1000.0 + number, record) for number, record in enumerate(records, start=1)]
