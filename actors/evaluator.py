"""The evaluator: has a policy version answer a set of tasks, and counts. Used by the Publisher and by `eval`."""

from collections import Counter
from collections.abc import Callable, Sequence

import msgspec
import trio

from actors.executor import Executor
from method.extraction import extract_code
from method.mistake import mistake
from protocols.identity import derive
from protocols.ports import Answering, Assessor, ChatRequest, JobResult, Ledger
from protocols.prompts import answer_prompt
from protocols.records import NOT_EXECUTABLE, EvaluatedTask, Evaluation, EvaluationPurpose, PolicyVersion, Task


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """One answer to one task, and how it came out."""

    text: str
    code: str | None
    """What was measured of it; None when it holds no code."""
    result: JobResult

    @property
    def solved(self) -> bool:
        """Whether there are tests and every one passed."""
        outcomes = self.result.outcomes
        return bool(outcomes) and all(outcome.passed for outcome in outcomes)

    @property
    def executable(self) -> bool:
        """Whether it parsed, imported and defined its entry point."""
        return self.result.error_class not in NOT_EXECUTABLE or any(one.passed for one in self.result.outcomes)


def as_written(text: str, task: Task) -> str | None:
    """Return the code of an answer as it stands."""
    return extract_code(text, task.entry_point)


def _unseen(task: Task, samples: tuple[Sample, ...]) -> None:
    """Look at nothing."""


class Evaluator:
    """Answers tasks with a fixed sampling and counts what passes.

    Args:
        assess: turns the counts into an evaluation with its intervals.
        top_p: of the sampling, as in training; so is `top_k`.
        max_tokens: of one answer.
        concurrency: tasks in flight.
        stop: texts that end an answer.
        seed: of the sampling; the same for every version, so that versions are compared on equal draws.
        turn: held while a version answers; training holds it too where it needs the same cores (`turns`).
        read: gives the code that is measured of an answer; None for one that holds no code.
        observe: told of each task's samples, once.
    """

    def __init__(
        self,
        policy: Answering,
        executor: Executor,
        ledger: Ledger,
        assess: Assessor,
        *,
        top_p: float,
        top_k: int | None = None,
        max_tokens: int,
        concurrency: int,
        seed: int,
        stop: tuple[str, ...] = (),
        turn: trio.Lock | None = None,
        read: Callable[[str, Task], str | None] = as_written,
        observe: Callable[[Task, tuple[Sample, ...]], None] = _unseen,
    ) -> None:
        self._policy = policy
        self._executor = executor
        self._ledger = ledger
        self._assess = assess
        self._top_p = top_p
        self._top_k = top_k
        self._max_tokens = max_tokens
        self._concurrency = concurrency
        self._seed = seed
        self._stop = stop
        self._turn = turn or trio.Lock()
        self._read = read
        self._observe = observe

    async def evaluate(
        self,
        version: PolicyVersion,
        tasks: Sequence[Task],
        *,
        purpose: EvaluationPurpose,
        round: int,
        samples: int,
        temperature: float,
        staged: bool,
        progress: Callable[[int, int], None] = lambda done, of: None,
    ) -> Evaluation:
        """Return the evaluation of `version` on `tasks`, from the ledger as far as it was made before.

        Args:
            version: the policy version that answers.
            tasks: what it answers.
            purpose: what the evaluation is for; there is one for each version and purpose.
            round: for the record.
            samples: answers per task, 1 or more.
            temperature: of each answer.
            staged: whether the version is on trial (see `Policy.chat`) instead of current.
            progress: told how many tasks are done, of how many.

        Raises:
            EndpointError: the policy could not be asked.
            SandboxError: the sandbox's own machinery failed.
        """
        known = await self.known(version.number, purpose)
        if known is not None:
            return known
        answered = await self._answered(version, purpose)
        places = trio.CapacityLimiter(self._concurrency)

        async def answer(task: Task) -> None:
            async with places:
                request = self.request(task, purpose, samples, temperature)
                record = await self._answer(version, task, request, purpose, round, staged=staged)
                await self._ledger.append(record)
                answered[record.id] = record
            progress(len(answered), len(tasks))

        async with self._turn, trio.open_nursery() as nursery:
            start = trio.current_time()
            for task in tasks:
                if _id_of(version, purpose, task) not in answered:
                    nursery.start_soon(answer, task)
        counted = [answered[_id_of(version, purpose, task)] for task in tasks]
        evaluation = self._assess(
            purpose=purpose,
            version=version.number,
            round=round,
            results=[one.result for one in counted],
            executable_share=sum(one.executable for one in counted) / max(1, sum(one.samples for one in counted)),
            prompt_tokens=sum(one.prompt_tokens for one in counted),
            completion_tokens=sum(one.completion_tokens for one in counted),
            seconds=trio.current_time() - start,
        )
        await self._ledger.append(evaluation)
        return evaluation

    async def known(self, version: int, purpose: EvaluationPurpose) -> Evaluation | None:
        """Return what the version of that number came to, from the ledger; None: it was not evaluated so."""
        known = await self._ledger.find(Evaluation, version=version)
        return next((evaluation for evaluation in known if evaluation.purpose == purpose), None)

    async def _answered(self, version: PolicyVersion, purpose: EvaluationPurpose) -> dict[str, EvaluatedTask]:
        known = await self._ledger.find(EvaluatedTask, version=version.number)
        return {record.id: record for record in known if record.purpose == purpose}

    def request(self, task: Task, purpose: EvaluationPurpose, samples: int, temperature: float) -> ChatRequest:
        """Return what is asked for one task's answers."""
        return ChatRequest(
            messages=answer_prompt(task),
            n=samples if temperature > 0 else 1,
            temperature=temperature,
            top_p=self._top_p if temperature > 0 else 1.0,
            top_k=self._top_k if temperature > 0 else None,
            max_tokens=self._max_tokens,
            stop=self._stop,
            seed=int(derive(purpose, self._seed, task.id)[:8], 16) >> 1,
        )

    async def _answer(
        self,
        version: PolicyVersion,
        task: Task,
        request: ChatRequest,
        purpose: EvaluationPurpose,
        round: int,
        *,
        staged: bool,
    ) -> EvaluatedTask:
        answer = await self._policy.chat(request, staged=version if staged else None)
        samples = await self._measure(task, tuple(choice.text for choice in answer.choices))
        self._observe(task, samples)
        failed = [found for sample in samples if (found := mistake(sample.result.outcomes)) is not None]
        return EvaluatedTask(
            id=_id_of(version, purpose, task),
            task_id=task.id,
            purpose=purpose,
            version=version.number,
            round=round,
            samples=len(samples),
            correct=sum(sample.solved for sample in samples),
            executable=sum(sample.executable for sample in samples),
            prompt_tokens=answer.prompt_tokens,
            completion_tokens=answer.completion_tokens,
            mistakes=dict(Counter(failed)),
        )

    async def _measure(self, task: Task, texts: tuple[str, ...]) -> tuple[Sample, ...]:
        """Run every distinct code once."""
        codes = [self._read(text, task) for text in texts]
        results = {code: await self._executor.measure(task, code) for code in dict.fromkeys(codes)}
        return tuple(
            Sample(text=text, code=code, result=results[code]) for text, code in zip(texts, codes, strict=True)
        )


def _id_of(version: PolicyVersion, purpose: EvaluationPurpose, task: Task) -> str:
    """Return the id of one task's answers; by the version's name, which holds a hash of its weights."""
    return derive("evaluated_task", purpose, version.name, task.id)
