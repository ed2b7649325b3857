"""What the actors' tests are made of: tiny tasks, an honest sandbox for trusted code, a trainer that only writes."""

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Never

import trio

from actors.fake import ScriptedChat, ScriptedPolicy, log_probabilities_of
from ledger.memory import MemoryLedger
from protocols.errors import RefineError
from protocols.identity import REFERENCE, derive
from protocols.ports import ChatRequest, Job, JobResult, Limits, TrainingJob, TrainingProgress
from protocols.records import (
    AssertTest,
    Candidate,
    Decision,
    ErrorClass,
    Example,
    Execution,
    Incumbent,
    LedgerRecord,
    PolicyVersion,
    Probe,
    Task,
    TestOutcome,
    TrainingReport,
    Verdict,
)
from sandbox.fake import FakeSandbox

LIMITS = Limits()
TOKENS = ((1, 2, 3, 4, 5, 6), (9, 7, 5, 3, 1))
"""The canary's prompts."""


def good(number: int) -> str:
    return f"def f{number}(x):\n    return x + {number}"


def half(number: int) -> str:
    """Code that passes the first of two tests."""
    return f"def f{number}(x):\n    return {number}"


def wrong(number: int) -> str:
    return f"def f{number}(x):\n    return 'no' * {number + 2}"


def raising(number: int) -> str:
    return f"def f{number}(x):\n    return missing[x] - {number}"


def fenced(code: str) -> str:
    return f"Here it is.\n```python\n{code}\n```"


def make_task(number: int, *, reference: bool = True, instruction: str | None = None) -> Task:
    return Task(
        id=f"task{number}",
        kind="function",
        instruction=instruction or f"Write f{number}: it adds {number}.",
        tests=(
            AssertTest(code=f"assert f{number}(0) == {number}"),
            AssertTest(code=f"assert f{number}(2) == {number + 2}"),
        ),
        entry_point=f"f{number}",
        reference=good(number) if reference else None,
    )


def number_in(request: ChatRequest) -> int:
    """Which task a request is about."""
    found = re.search(r"Write f(\d+)", request.messages[0].content + request.messages[-1].content)
    assert found is not None
    return int(found[1])


def run_here(job: Job) -> JobResult:
    """Really run the tests' own code, which is harmless, in this process."""
    outcomes = tuple(_outcome(job.code, getattr(test, "code", "")) for test in job.tests)
    return JobResult(
        outcomes=outcomes,
        error_class=next((outcome.error_class for outcome in outcomes if not outcome.passed), None),
        tier="none",
        evidence="tests",
        cpu_s=0.0,
        wall_s=0.0,
        peak_bytes=0,
    )


def _outcome(code: str, test: str) -> TestOutcome:
    classes: dict[type[Exception], ErrorClass] = {
        SyntaxError: "syntax",
        NameError: "name",
        TypeError: "type",
        AssertionError: "wrong_answer",
    }
    scope: dict[str, object] = {}
    try:
        exec(code, scope)
        exec(test, scope)
    except Exception as error:
        return TestOutcome(passed=False, error_class=classes.get(type(error), "other"), message=str(error))
    return TestOutcome(passed=True)


def honest_sandbox() -> FakeSandbox:
    return FakeSandbox(run_here)


def probes(version: int) -> tuple[Probe, ...]:
    return tuple(Probe(token_ids=ids, log_probabilities=log_probabilities_of(version, ids)) for ids in TOKENS)


def base_version() -> PolicyVersion:
    return make_version(0, state="base", batch_id=None)


def make_version(number: int, *, state: str = "promoted", batch_id: str | None = "batch") -> PolicyVersion:
    return PolicyVersion(
        id=derive("policy_version", number),
        number=number,
        name="base" if number == 0 else f"v{number:04d}-abc",
        parent=None if number == 0 else number - 1,
        state=state,  # pyright: ignore[reportArgumentType]
        reason="",
        adapter=None if number == 0 else f"adapters/v{number:04d}-abc",
        merged=None,
        batch_id=batch_id,
        content_hash=None,
        probes=probes(number),
        canary=None,
    )


def make_report(number: int, adapter: str = "", round: int = 0) -> TrainingReport:
    return TrainingReport(
        id=derive("batch", number),
        round=round,
        version=number,
        adapter=adapter or f"adapters/v{number:04d}-abc",
        merged=None,
        content_hash=f"hash{number}",
        losses=(1.0, 0.5),
        examples=4,
        dropped=0,
        steps=2,
        tokens=100,
        loss_tokens=50,
        seconds=1.0,
        peak_bytes=1,
        probes=probes(number),
    )


def make_candidate(
    task: Task,
    index: int,
    code: str | None,
    *,
    round: int = 0,
    version: int = 0,
    finish_reason: str = "stop",
    text: str = "",
) -> Candidate:
    return Candidate(
        id=derive("candidate", task.id, round, version, index),
        task_id=task.id,
        round=round,
        version=version,
        index=index,
        text=text or (fenced(code) if code is not None else "I do not know."),
        code=code,
        finish_reason=finish_reason,
        temperatures=(0.8,),
    )


def make_execution(task: Task, subject_id: str, passed: Sequence[bool], round: int = 0) -> Execution:
    outcomes = tuple(TestOutcome(passed=ok, error_class=None if ok else "wrong_answer") for ok in passed)
    return Execution(
        id=derive("execution", task.id, subject_id),
        subject_id=subject_id,
        task_id=task.id,
        round=round,
        outcomes=outcomes,
        error_class=None if all(passed) else "wrong_answer",
        tier="none",
        evidence="tests",
        cpu_s=0.0,
        wall_s=0.0,
        peak_bytes=0,
    )


def reference_of(task: Task) -> Incumbent:
    assert task.reference is not None
    return Incumbent(subject_id=REFERENCE, origin="reference", code=task.reference)


def make_decision(
    task: Task,
    kinds: tuple[str, ...],
    *,
    incumbent: Incumbent | None = None,
    answer_id: str | None = None,
    critique_ids: tuple[str, ...] = (),
    round: int = 0,
    version: int = 0,
) -> Decision:
    return Decision(
        id=derive("decision", task.id, round),
        task_id=task.id,
        round=round,
        version=version,
        kinds=kinds,  # pyright: ignore[reportArgumentType]
        incumbent=incumbent,
        answer_id=answer_id,
        critique_ids=critique_ids,
        scores=(),
    )


def make_verdict(judge: str, task: Task, left: str, right: str, choice: str, round: int = 0) -> Verdict:
    return Verdict(
        id=derive("verdict", judge, task.id, round, left, right),
        task_id=task.id,
        round=round,
        judge=judge,
        left_id=left,
        right_id=right,
        choice=choice,  # pyright: ignore[reportArgumentType]
        perspectives={},
        answer="",
        prompt_tokens=1,
        completion_tokens=1,
        seconds=0.0,
    )


def verdict_text(choice: str) -> str:
    names = ("correctness", "efficiency", "robustness", "readability", "verdict")
    return json.dumps(dict.fromkeys(names, choice))


def shown_codes(request: ChatRequest) -> tuple[str, str]:
    """The two answers that a judge was shown."""
    found = re.findall(r"<(\w+) [AB]>\n(.*?)\n</\1 [AB]>", request.messages[0].content, re.DOTALL)
    assert len(found) == 2
    return found[0][1], found[1][1]


def right_judge(name: str = "judge") -> ScriptedChat:
    """A judge that prefers the code which adds."""

    def answer(request: ChatRequest) -> str:
        left, right = ("x +" in code for code in shown_codes(request))
        return verdict_text("tie" if left == right else "A" if left else "B")

    return ScriptedChat(name, answer)


def helpful_critic(name: str = "critic") -> ScriptedChat:
    """A critic whose revision is right for tasks of an even number."""

    def answer(request: ChatRequest) -> str:
        number = number_in(request)
        return f"It does not add (task {number}).\n\n{fenced(good(number) if number % 2 == 0 else wrong(number))[13:]}"

    return ScriptedChat(name, answer)


class WritingTrainer:
    """Makes an adapter's folder and the numbers that the scripted policy will serve.

    Args:
        failures: raised by the next jobs.
        takes_s: of each job.
    """

    def __init__(self, folder: Path, failures: Sequence[Exception] = (), *, takes_s: float = 0.0) -> None:
        self._folder = folder
        self._takes_s = takes_s
        self.failures = list(failures)
        self.jobs: list[TrainingJob] = []

    async def train(self, job: TrainingJob, progress: Callable[[TrainingProgress], None]) -> TrainingReport:
        self.jobs.append(job)
        progress(TrainingProgress(step=1, steps=2, loss=1.0, learning_rate=1e-4, tokens_per_s=100.0))
        await trio.sleep(self._takes_s)
        if self.failures:
            raise self.failures.pop(0)
        return make_report(job.version, self._write(job), job.round)

    def _write(self, job: TrainingJob) -> str:
        adapter = self._folder / f"v{job.version:04d}-abc"
        adapter.mkdir(parents=True, exist_ok=True)
        return str(adapter)

    async def probe(self, model: str, texts: Sequence[str]) -> tuple[Probe, ...]:
        await trio.lowlevel.checkpoint()
        return probes(0)


class BrittleLedger(MemoryLedger):
    """A ledger that counts its appends and does something at one of them.

    Args:
        at: number of the append, from 1.
        act: called before the append does its work, and may raise.
    """

    def __init__(self, at: int | None = None, act: Callable[[], object] = lambda: None) -> None:
        super().__init__()
        self.at = at
        self.act = act
        self.appends = 0

    async def append(self, *records: LedgerRecord) -> None:
        self.appends += 1
        if self.appends == self.at:
            self.act()
        await super().append(*records)


def scripted_policy(
    texts: Callable[[int, int], Sequence[str]], current: PolicyVersion | None = None, in_place: bool = False
) -> ScriptedPolicy:
    """A policy whose texts depend on the task's number and the version's."""
    return ScriptedPolicy(
        lambda request, version: texts(number_in(request), version), current or base_version(), in_place=in_place
    )


def taught(example: Example) -> str:
    return example.messages[-1].content


def raise_error(error: Exception) -> Callable[..., Never]:
    def act(*_: object) -> Never:
        raise error

    return act


class Fault(RefineError):
    """A failure of the surroundings."""
