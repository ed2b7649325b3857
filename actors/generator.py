"""The Generator: asks the policy for candidates and folds equal ones into one."""

from collections.abc import Sequence

import trio

from actors.messages import Assignment, Generated
from method.extraction import extract_code
from method.normal_form import group_equal
from method.temperature import ladder
from protocols.identity import derive
from protocols.ports import ChatAnswer, ChatChoice, ChatRequest, Ledger, Policy
from protocols.prompts import answer_prompt
from protocols.records import Candidate, Generation, Task


class Generator:
    """Step 1 of the method.

    Args:
        candidates: responses per task and round.
        temperatures: one, or a ladder spread over the responses.
        seed: of the sampling, together with task and round.
        stop: texts that end a response.
    """

    def __init__(
        self,
        policy: Policy,
        ledger: Ledger,
        *,
        candidates: int,
        temperatures: tuple[float, ...],
        top_p: float,
        top_k: int | None = None,
        max_tokens: int,
        seed: int,
        stop: tuple[str, ...] = (),
    ) -> None:
        self._policy = policy
        self._ledger = ledger
        self._rungs = ladder(temperatures, candidates)
        self._top_p = top_p
        self._top_k = top_k
        self._max_tokens = max_tokens
        self._seed = seed
        self._stop = stop

    async def generate(self, item: Assignment) -> Generated:
        """Return the task's distinct candidates; those of a generation that is in the ledger are not asked again.

        Raises:
            EndpointError: the policy could not be asked.
        """
        task, round = item.task, item.round
        if await self._ledger.get(Generation, derive("generation", task.id, round)) is not None:
            known = await self._ledger.find(Candidate, task_id=task.id, round=round)
            return Generated(task=task, round=round, candidates=known)
        answers = await self._ask(task, round)
        candidates = _candidates(
            task, round, [(rung[0], answer) for rung, answer in zip(self._rungs, answers, strict=True)]
        )
        await self._ledger.append(*candidates, _generation(task, round, answers))
        return Generated(task=task, round=round, candidates=candidates)

    async def _ask(self, task: Task, round: int) -> list[ChatAnswer]:
        answers: dict[int, ChatAnswer] = {}

        async def ask(rung: int) -> None:
            temperature, n = self._rungs[rung]
            request = ChatRequest(
                messages=answer_prompt(task),
                n=n,
                temperature=temperature,
                top_p=self._top_p,
                top_k=self._top_k,
                max_tokens=self._max_tokens,
                stop=self._stop,
                seed=int(derive("sampling", self._seed, task.id, round, rung)[:8], 16) >> 1,
            )
            answers[rung] = await self._policy.chat(request)

        async with trio.open_nursery() as nursery:
            for rung in range(len(self._rungs)):
                nursery.start_soon(ask, rung)
        return [answers[rung] for rung in range(len(self._rungs))]


def _candidates(task: Task, round: int, answers: Sequence[tuple[float, ChatAnswer]]) -> tuple[Candidate, ...]:
    responses: list[tuple[float, int, ChatChoice]] = [
        (temperature, answer.version or 0, choice) for temperature, answer in answers for choice in answer.choices
    ]
    codes = [extract_code(choice.text, task.entry_point) for _, _, choice in responses]
    candidates: list[Candidate] = []
    for group in group_equal(codes):
        index = group[0]
        _, version, choice = responses[index]
        candidates.append(
            Candidate(
                id=derive("candidate", task.id, round, version, index),
                task_id=task.id,
                round=round,
                version=version,
                index=index,
                text=choice.text,
                code=codes[index],
                finish_reason=choice.finish_reason,
                temperatures=tuple(responses[member][0] for member in group),
            )
        )
    return tuple(candidates)


def _generation(task: Task, round: int, answers: Sequence[ChatAnswer]) -> Generation:
    return Generation(
        id=derive("generation", task.id, round),
        task_id=task.id,
        round=round,
        version=max((answer.version or 0 for answer in answers), default=0),
        responses=sum(len(answer.choices) for answer in answers),
        prompt_tokens=sum(answer.prompt_tokens for answer in answers),
        completion_tokens=sum(answer.completion_tokens for answer in answers),
        seconds=max((answer.seconds for answer in answers), default=0.0),
    )
