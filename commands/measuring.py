"""Measures one version on one set of tasks, from answers that are kept and, where there are none, from the policy."""

from pathlib import Path

import msgspec
import trio

from actors.evaluator import Evaluator, Sample, as_written
from actors.executor import Executor
from commands.assembly import evaluator_of
from commands.serving import chosen_dtype, is_managed
from evals.answer_store import AnswerStore, StoredAnswers
from evals.measured import AnswerReport, Measured, TaskReport, by_topic, count_mistakes, digests
from ledger.memory import MemoryLedger
from method.mistake import mistake
from method.sanitizing import sanitized
from protocols.ports import Answering, ChatRequest
from protocols.records import Evaluation, PolicyVersion, Task
from protocols.settings import Settings


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be measured, all settings resolved."""

    settings: Settings
    version: PolicyVersion
    name: str
    source: str
    tasks: tuple[Task, ...]
    as_written: bool
    folder: Path

    @property
    def asked(self) -> str:
        """Whom the answers are of, as exactly as answers may differ."""
        settings = self.settings
        policies = [endpoint for endpoint in settings.endpoints if "policy" in endpoint.roles]
        served = [f"{endpoint.url} {endpoint.model or ''}" for endpoint in policies]
        dtype = chosen_dtype(settings) if is_managed(settings) else ""
        return " ".join([settings.model.name, dtype, self.version.name, *served])


class Measuring:
    """Asks, runs and counts one job, once."""

    def __init__(self, job: Job, executor: Executor, store: AnswerStore) -> None:
        self._job = job
        self._executor = executor
        self._store = store
        self._reports: dict[str, TaskReport] = {}
        self._failing: list[str] = []

    def requests(self) -> list[ChatRequest]:
        """Return everything that will be asked."""
        evaluator, evaluate = self._evaluator(None), self._job.settings.evaluate
        return [evaluator.request(task, "held_out", evaluate.samples, evaluate.temperature) for task in self._job.tasks]

    async def measure(self, policy: Answering | None) -> tuple[Measured, tuple[TaskReport, ...]]:
        """Return the outcome; with `policy` None, everything that is asked must be in the store."""
        job, evaluate = self._job, self._job.settings.evaluate
        await self._run_references()
        evaluation = await self._evaluator(policy).evaluate(
            job.version,
            job.tasks,
            purpose="held_out",
            round=0,
            samples=evaluate.samples,
            temperature=evaluate.temperature,
            staged=False,
        )
        reports = tuple(self._reports[task.id] for task in job.tasks)
        return self._measured(evaluation, reports), reports

    def _evaluator(self, policy: Answering | None) -> Evaluator:
        return evaluator_of(
            self._job.settings,
            StoredAnswers(self._store, policy),
            self._executor,
            MemoryLedger(),
            read=as_written if self._job.as_written else sanitized,
            observe=self._observe,
        )

    def _observe(self, task: Task, samples: tuple[Sample, ...]) -> None:
        self._reports[task.id] = TaskReport(
            task_id=task.id,
            topic=task.topic,
            difficulty=task.difficulty,
            samples=len(samples),
            correct=sum(sample.solved for sample in samples),
            answers=tuple(map(_answer_report, samples)),
        )

    async def _run_references(self) -> None:
        async def run(task: Task) -> None:
            result = await self._executor.measure(task, task.reference)
            if any(not outcome.passed for outcome in result.outcomes):
                self._failing.append(task.id)

        async with trio.open_nursery() as nursery:
            for task in self._job.tasks:
                if task.reference is not None and task.tests:
                    nursery.start_soon(run, task)

    def _measured(self, evaluation: Evaluation, reports: tuple[TaskReport, ...]) -> Measured:
        job, settings = self._job, self._job.settings
        return Measured(
            name=job.name,
            model=settings.model.name,
            endpoints=tuple(endpoint.url for endpoint in settings.endpoints if "policy" in endpoint.roles),
            source=job.source,
            sampling={
                "samples": settings.evaluate.samples,
                "temperature": settings.evaluate.temperature,
                "top_p": settings.generate.top_p,
                "top_k": settings.generate.top_k,
                "max_tokens": settings.generate.max_tokens,
                "stop": settings.generate.stop,
                "seed": settings.run.seed,
                "sanitised": not job.as_written,
            },
            evaluation=evaluation,
            by_topic=by_topic(job.tasks, evaluation.results),
            mistakes=count_mistakes(reports),
            failing_references=tuple(sorted(self._failing)),
            digests=digests(job.tasks),
            reused_answers=self._store.used,
        )


def _answer_report(sample: Sample) -> AnswerReport:
    outcomes = sample.result.outcomes
    failed = next((outcome for outcome in outcomes if not outcome.passed), None)
    return AnswerReport(
        solved=sample.solved,
        error_class=sample.result.error_class,
        mistake=mistake(outcomes),
        message=failed.message if failed is not None else "",
        code=sample.code,
    )
