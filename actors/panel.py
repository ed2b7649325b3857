"""The panel: asks judges to compare two answers in both orders, and keeps each judge's measured reliability."""

import secrets
from collections.abc import Mapping, Sequence

import trio

from method.comparison import Opinion, Pair, fold, parse_verdict
from method.reliability import Reliability, panel_reliability, panel_weights, update
from protocols.identity import derive
from protocols.ports import Chat, ChatRequest, Ledger
from protocols.prompts import judge_prompt, judge_schema
from protocols.records import Choice, Execution, Task, Verdict

RETRY_TEMPERATURE = 0.7
"""A second try at the first one's temperature of 0 would get the same unreadable answer again."""


class Panel:
    """The judges of a run.

    Args:
        judges: their names must differ.
        max_tokens: of one answer.
    """

    def __init__(self, judges: Sequence[Chat], ledger: Ledger, *, max_tokens: int) -> None:
        self._judges = tuple(judges)
        self._ledger = ledger
        self._max_tokens = max_tokens
        self._reliabilities = {judge.name: Reliability() for judge in self._judges}

    async def restore(self) -> None:
        """Measure the reliabilities again from the verdicts in the ledger."""
        executions = {execution.subject_id: execution for execution in await self._ledger.find(Execution)}
        references = {
            execution.task_id: execution for execution in executions.values() if execution.subject_id == "reference"
        }
        forward: dict[tuple[str, str, frozenset[str]], Verdict] = {}
        for verdict in await self._ledger.find(Verdict):
            key = (verdict.judge, f"{verdict.round}/{verdict.task_id}", frozenset((verdict.left_id, verdict.right_id)))
            other = forward.pop(key, None)
            if other is None:
                forward[key] = verdict
                continue
            shares = {
                id: execution.share
                for id in (verdict.left_id, verdict.right_id)
                if (execution := executions.get(id) or references.get(verdict.task_id)) is not None
            }
            self._learn(verdict.judge, fold(other, verdict), shares)

    @property
    def reliability(self) -> float:
        """The panel's measured reliability, in [0, 1]."""
        return panel_reliability(self._reliabilities)

    async def compare(
        self, task: Task, round: int, pairs: Sequence[Pair], codes: Mapping[str, str], shares: Mapping[str, float]
    ) -> tuple[tuple[Opinion, float], ...]:
        """Return every judge's opinion of every pair, each with its judge's weight.

        Args:
            codes: code by subject id.
            shares: E by subject id, to learn from.

        Raises:
            EndpointError: a judge could not be asked.
        """
        opinions: list[tuple[str, Opinion]] = []

        async def ask(judge: Chat, pair: Pair) -> None:
            opinions.append((judge.name, await self._ask(judge, task, round, pair, codes)))

        async with trio.open_nursery() as nursery:
            for judge in self._judges:
                for pair in pairs:
                    nursery.start_soon(ask, judge, pair)
        for name, opinion in opinions:
            self._learn(name, opinion, shares)
        weights = panel_weights(self._reliabilities)
        return tuple((opinion, weights[name]) for name, opinion in sorted(opinions, key=_order))

    def _learn(self, name: str, opinion: Opinion, shares: Mapping[str, float]) -> None:
        if name in self._reliabilities:
            self._reliabilities[name] = update(self._reliabilities[name], opinion, shares)

    async def _ask(self, judge: Chat, task: Task, round: int, pair: Pair, codes: Mapping[str, str]) -> Opinion:
        verdicts: dict[bool, Verdict] = {}

        async def ask(swapped: bool) -> None:
            left, right = (pair.right_id, pair.left_id) if swapped else (pair.left_id, pair.right_id)
            verdicts[swapped] = await self._verdict(judge, task, round, left, right, codes)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, False)
            nursery.start_soon(ask, True)
        return fold(verdicts[False], verdicts[True])

    async def _verdict(
        self, judge: Chat, task: Task, round: int, left_id: str, right_id: str, codes: Mapping[str, str]
    ) -> Verdict:
        id = derive("verdict", judge.name, task.id, round, left_id, right_id)
        known = await self._ledger.get(Verdict, id)
        if known is not None:
            return known
        messages = judge_prompt(task, codes[left_id], codes[right_id], secrets.token_hex(8))
        prompt_tokens = completion_tokens = 0
        seconds = 0.0
        answer_text = ""
        choice: Choice = "abstain"
        perspectives: dict[str, Choice] = {}
        for temperature in (0.0, RETRY_TEMPERATURE):
            request = ChatRequest(
                messages=messages, temperature=temperature, max_tokens=self._max_tokens, schema=judge_schema()
            )
            answer = await judge.chat(request)
            prompt_tokens += answer.prompt_tokens
            completion_tokens += answer.completion_tokens
            seconds += answer.seconds
            answer_text = answer.choices[0].text
            parsed = parse_verdict(answer_text)
            if parsed is not None:
                choice, perspectives = parsed
                break
        verdict = Verdict(
            id=id,
            task_id=task.id,
            round=round,
            judge=judge.name,
            left_id=left_id,
            right_id=right_id,
            choice=choice,
            perspectives=perspectives,
            answer=answer_text,
            prompt_tokens=prompt_tokens,
            completion_tokens=completion_tokens,
            seconds=seconds,
        )
        await self._ledger.append(verdict)
        return verdict


def _order(entry: tuple[str, Opinion]) -> tuple[str, str, str]:
    name, opinion = entry
    return name, opinion.left_id, opinion.right_id
