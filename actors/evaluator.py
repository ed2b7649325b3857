"""The evaluator: has a policy version answer a set of tasks, and counts. Used by the Publisher and by `eval`."""

from collections.abc import Callable, Sequence

import trio

from actors.executor import Executor
from method.extraction import extract_code
from protocols.identity import derive
from protocols.ports import Assessor, ChatRequest, Ledger, Policy
from protocols.prompts import answer_prompt
from protocols.records import NOT_EXECUTABLE, EvaluatedTask, Evaluation, EvaluationPurpose, PolicyVersion, Task


class Evaluator:
    """Answers tasks with a fixed sampling and counts what passes.

    Args:
        assess: turns the counts into an evaluation with its intervals.
        top_p: of the sampling, as in training.
        max_tokens: of one answer.
        concurrency: tasks in flight.
        stop: texts that end an answer.
        seed: of the sampling; the same for every version, so that versions are compared on equal draws.
        turn: held while a version answers; training holds it too where it needs the same cores (`turns`).
    """

    def __init__(
        self,
        policy: Policy,
        executor: Executor,
        ledger: Ledger,
        assess: Assessor,
        *,
        top_p: float,
        max_tokens: int,
        concurrency: int,
        seed: int,
        stop: tuple[str, ...] = (),
        turn: trio.Lock | None = None,
    ) -> None:
        self._policy = policy
        self._executor = executor
        self._ledger = ledger
        self._assess = assess
        self._top_p = top_p
        self._max_tokens = max_tokens
        self._concurrency = concurrency
        self._seed = seed
        self._stop = stop
        self._turn = turn or trio.Lock()

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
        known = await self._known(version, purpose)
        if known is not None:
            return known
        answered = await self._answered(version, purpose)
        places = trio.CapacityLimiter(self._concurrency)

        async def answer(task: Task) -> None:
            async with places:
                request = self._request(task, purpose, samples, temperature)
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

    async def _known(self, version: PolicyVersion, purpose: EvaluationPurpose) -> Evaluation | None:
        known = await self._ledger.find(Evaluation, version=version.number)
        return next((evaluation for evaluation in known if evaluation.purpose == purpose), None)

    async def _answered(self, version: PolicyVersion, purpose: EvaluationPurpose) -> dict[str, EvaluatedTask]:
        known = await self._ledger.find(EvaluatedTask, version=version.number)
        return {record.id: record for record in known if record.purpose == purpose}

    def _request(self, task: Task, purpose: str, samples: int, temperature: float) -> ChatRequest:
        return ChatRequest(
            messages=answer_prompt(task),
            n=samples if temperature > 0 else 1,
            temperature=temperature,
            top_p=self._top_p if temperature > 0 else 1.0,
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
        solved = executable = 0
        codes = [extract_code(choice.text, task.entry_point) for choice in answer.choices]
        for code in set(codes):
            result = await self._executor.measure(task, code)
            times = codes.count(code)
            solved += times if result.outcomes and all(outcome.passed for outcome in result.outcomes) else 0
            passed_any = any(outcome.passed for outcome in result.outcomes)
            executable += times if passed_any or result.error_class not in NOT_EXECUTABLE else 0
        return EvaluatedTask(
            id=_id_of(version, purpose, task),
            task_id=task.id,
            purpose=purpose,
            version=version.number,
            round=round,
            samples=len(codes),
            correct=solved,
            executable=executable,
            prompt_tokens=answer.prompt_tokens,
            completion_tokens=answer.completion_tokens,
        )


def _id_of(version: PolicyVersion, purpose: EvaluationPurpose, task: Task) -> str:
    """Return the id of one task's answers; by the version's name, which holds a hash of its weights."""
    return derive("evaluated_task", purpose, version.name, task.id)
