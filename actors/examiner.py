"""The Examiner: has the policy write tests of its own for a task, for consensus to count on."""

from actors.executor import Executor, tests_written_for
from method.written_tests import read_tests
from protocols.identity import derive
from protocols.ports import ChatAnswer, ChatRequest, Ledger, Policy
from protocols.prompts import tests_prompt, tests_schema
from protocols.records import Task, Test, WrittenTests


class Examiner:
    """The part of step 2 that needs the policy.

    A task is asked about until an answer holds a test that can be used, at most once a round; what it is given then
    stands for the whole run, so that executions of one task in different rounds can be compared.

    Args:
        tests: per task, at most.
        answers: to ask for, in one request.
        temperature: of each.
        max_tokens: of each.
        stop: texts that end an answer in a code block, as the policy's.
        drops: whether tests that the task's reference answer fails are dropped, where it is not hidden.
        seed: of the sampling, together with task and round.
    """

    def __init__(
        self,
        policy: Policy,
        executor: Executor,
        ledger: Ledger,
        *,
        tests: int,
        answers: int,
        temperature: float,
        max_tokens: int,
        stop: tuple[str, ...],
        drops: bool,
        seed: int,
    ) -> None:
        self._policy = policy
        self._executor = executor
        self._ledger = ledger
        self._tests = tests
        self._answers = answers
        self._temperature = temperature
        self._max_tokens = max_tokens
        self._stop = stop
        self._drops = drops
        self._seed = seed

    async def examine(self, task: Task, round: int) -> WrittenTests:
        """Return the tests written for `task`, from the ledger if they were written before.

        Raises:
            EndpointError: the policy could not be asked.
            SandboxError: the reference could not be run against them.
        """
        known = await tests_written_for(self._ledger, task)
        if known is None:
            known = await self._ledger.get(WrittenTests, derive("written_tests", task.id, round))
        if known is not None:
            return known
        answer = await self._policy.chat(self._request(task, round))
        read = read_tests(task, [choice.text for choice in answer.choices], self._tests)
        dropped = await self._failed_by_reference(task, read.tests)
        kept = tuple(test for test in read.tests if test not in dropped)
        record = _record(task, round, kept, dropped, read.unusable, answer)
        await self._ledger.append(record)
        return record

    def _request(self, task: Task, round: int) -> ChatRequest:
        return ChatRequest(
            messages=tests_prompt(task, self._tests),
            n=self._answers,
            temperature=self._temperature,
            max_tokens=self._max_tokens,
            stop=self._stop if task.kind == "function" else (),
            schema=tests_schema() if task.kind == "stdio" else None,
            seed=int(derive("written_tests", self._seed, task.id, round)[:8], 16) >> 1,
        )

    async def _failed_by_reference(self, task: Task, tests: tuple[Test, ...]) -> tuple[Test, ...]:
        # A task that has tests is written tests for only to see how good they are: help would spoil that.
        if not self._drops or task.tests or task.reference is None or not tests:
            return ()
        result = await self._executor.measure_against(task, task.reference, tests)
        return tuple(test for test, outcome in zip(tests, result.outcomes, strict=True) if not outcome.passed)


def _record(
    task: Task,
    round: int,
    kept: tuple[Test, ...],
    dropped: tuple[Test, ...],
    unusable: int,
    answer: ChatAnswer,
) -> WrittenTests:
    return WrittenTests(
        id=derive("written_tests", task.id, round),
        task_id=task.id,
        round=round,
        version=answer.version or 0,
        tests=kept,
        dropped=dropped,
        unusable=unusable,
        answers=tuple(choice.text for choice in answer.choices),
        prompt_tokens=answer.prompt_tokens,
        completion_tokens=answer.completion_tokens,
        seconds=answer.seconds,
    )
