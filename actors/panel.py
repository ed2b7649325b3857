"""The panel: asks judges to compare two answers in both orders, and keeps each judge's measured reliability."""

import secrets
from collections.abc import Mapping, Sequence

import trio

from method.comparison import Opinion, Pair, fold, parse_verdict
from method.reliability import Reliability, panel_reliability, panel_weights, trusted, update
from protocols.identity import derive
from protocols.ports import Chat, ChatRequest, Ledger
from protocols.prompts import judge_prompt, judge_schema
from protocols.records import Choice, Decision, Evidence, Execution, Task, Verdict

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
        nobody_known = {judge.name: Reliability() for judge in self._judges}
        self._by_tests, self._by_consensus = dict(nobody_known), dict(nobody_known)
        self._learnt: set[tuple[str, str]] = set()

    async def restore(self) -> None:
        """Measure the reliabilities again from the verdicts in the ledger.

        Verdicts on a task that was not decided yet count when they are used for its decision, as they would have.
        """
        executions = await self._ledger.find(Execution)
        shares = {(e.task_id, e.subject_id): e.share for e in executions}
        agreed = {e.task_id for e in executions if e.evidence == "consensus"}
        decided = {
            (decision.task_id, decision.round): {score.subject_id: score.execution_share for score in decision.scores}
            for decision in await self._ledger.find(Decision)
        }
        forward: dict[tuple[str, str, int, frozenset[str]], Verdict] = {}
        for verdict in await self._ledger.find(Verdict):
            if (verdict.task_id, verdict.round) not in decided:
                continue
            subjects = frozenset((verdict.left_id, verdict.right_id))
            other = forward.setdefault((verdict.judge, verdict.task_id, verdict.round, subjects), verdict)
            if other is not verdict:
                known = {s: share for s in subjects if (share := shares.get((verdict.task_id, s))) is not None}
                evidence: Evidence = "tests"
                if verdict.task_id in agreed:
                    evidence, known = "consensus", decided[verdict.task_id, verdict.round]
                self._learn(verdict.task_id, verdict.round, fold(other, verdict), known, evidence)

    @property
    def reliability(self) -> float:
        """The panel's measured reliability, in [0, 1]; from tests, or before they proved anything, from consensus."""
        return panel_reliability(trusted(self._by_tests, self._by_consensus))

    async def compare(
        self,
        task: Task,
        round: int,
        pairs: Sequence[Pair],
        codes: Mapping[str, str],
        shares: Mapping[str, float],
        *,
        evidence: Evidence = "tests",
    ) -> tuple[tuple[Opinion, float], ...]:
        """Return every judge's opinion of every pair, each with its judge's weight.

        Args:
            task: what was asked.
            round: in which it was answered.
            pairs: what to compare.
            codes: code by subject id.
            shares: E by subject id, to learn from.
            evidence: what E rests on; agreement among candidates is kept apart from tests.

        Raises:
            EndpointError: a judge could not be asked.
        """
        opinions: list[Opinion] = []

        async def ask(judge: Chat, pair: Pair) -> None:
            opinions.append(await self._ask(judge, task, round, pair, codes))

        async with trio.open_nursery() as nursery:
            for judge in self._judges:
                for pair in pairs:
                    nursery.start_soon(ask, judge, pair)
        for opinion in opinions:
            self._learn(task.id, round, opinion, shares, evidence)
        weights = panel_weights(trusted(self._by_tests, self._by_consensus))
        return tuple((opinion, weights[opinion.judge]) for opinion in sorted(opinions, key=_order))

    def _learn(
        self, task_id: str, round: int, opinion: Opinion, shares: Mapping[str, float], evidence: Evidence
    ) -> None:
        """Count an opinion, once: a task that is handled again brings the same ones."""
        subjects = sorted((opinion.left_id, opinion.right_id))
        key = (opinion.judge, derive("opinion", task_id, round, *subjects))
        records = self._by_consensus if evidence == "consensus" else self._by_tests
        if opinion.judge in records and key not in self._learnt:
            self._learnt.add(key)
            records[opinion.judge] = update(records[opinion.judge], opinion, shares)

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
        verdict_id = derive("verdict", judge.name, task.id, round, left_id, right_id)
        known = await self._ledger.get(Verdict, verdict_id)
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
            id=verdict_id,
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


def _order(opinion: Opinion) -> tuple[str, str, str]:
    return opinion.judge, opinion.left_id, opinion.right_id
