"""The panel: asks judges to compare two answers in both orders, or to mark one by itself."""

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import trio

from actors.inquiry import Reply, inquire
from actors.reputation import Reputation
from method.comparison import Opinion, Pair, fold, parse_verdict
from method.rubric import Rating, parse_rubric
from protocols.identity import derive
from protocols.ports import Chat, Ledger
from protocols.prompts import judge_prompt, judge_schema, rubric_prompt, rubric_schema
from protocols.records import Evidence, Rubric, Task, Verdict

MILLION = 1_000_000


class Price(msgspec.Struct, frozen=True):
    """What a judge's endpoint charges per million tokens."""

    prompt: float
    completion: float


class Panel:
    """The judges of a run.

    Args:
        judges: their names must differ.
        max_tokens: of one answer.
        prices: by judge, of those whose endpoint has one.
    """

    def __init__(
        self,
        judges: Sequence[Chat],
        ledger: Ledger,
        *,
        max_tokens: int,
        prices: Mapping[str, Price] | None = None,
    ) -> None:
        self._judges = tuple(judges)
        self._ledger = ledger
        self._max_tokens = max_tokens
        self._prices = prices or {}
        self._reputation = Reputation(judge.name for judge in self._judges)

    async def restore(self) -> None:
        """Measure the reliabilities again from the opinions in the ledger."""
        await self._reputation.restore(self._ledger)

    @property
    def reliability(self) -> float:
        """The panel's measured reliability, in [0, 1]; from tests, or before they proved anything, from consensus."""
        return self._reputation.reliability

    @property
    def weights(self) -> dict[str, float]:
        """How much each judge's opinion weighs."""
        return self._reputation.weights

    def learn(
        self, task: Task, round: int, opinions: Sequence[Opinion], shares: Mapping[str, float], evidence: Evidence
    ) -> None:
        """Measure the judges by what they said of a task that is decided now; arguments as `Reputation.learn`."""
        for opinion in opinions:
            self._reputation.learn(task.id, round, opinion, shares, evidence)

    async def compare(
        self, task: Task, round: int, pairs: Sequence[Pair], codes: Mapping[str, str]
    ) -> tuple[Opinion, ...]:
        """Return every judge's opinion of every pair, from the ledger as far as it was asked before.

        Args:
            task: what was asked.
            round: in which it was answered.
            pairs: what to compare.
            codes: code by subject id.

        Raises:
            EndpointError: a judge could not be asked.
        """
        opinions: list[Opinion] = []

        async def ask(judge: Chat, pair: Pair) -> None:
            opinions.append(await self._opinion(judge, task, round, pair, codes))

        async with trio.open_nursery() as nursery:
            for judge in self._judges:
                for pair in pairs:
                    nursery.start_soon(ask, judge, pair)
        return tuple(sorted(opinions, key=_order))

    async def mark(self, task: Task, round: int, codes: Mapping[str, str]) -> tuple[Rating, ...]:
        """Return every judge's marks for each of `codes`; arguments and errors as `compare`."""
        ratings: list[Rating] = []

        async def ask(judge: Chat, subject_id: str) -> None:
            rubric = await self._rubric(judge, task, round, subject_id, codes[subject_id])
            ratings.append(Rating(subject_id, judge.name, rubric.marks))

        async with trio.open_nursery() as nursery:
            for judge in self._judges:
                for subject_id in codes:
                    nursery.start_soon(ask, judge, subject_id)
        return tuple(sorted(ratings, key=lambda rating: (rating.judge, rating.subject_id)))

    async def _opinion(self, judge: Chat, task: Task, round: int, pair: Pair, codes: Mapping[str, str]) -> Opinion:
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
        reply = await inquire(judge, messages, judge_schema(), parse_verdict, self._max_tokens)
        choice, perspectives = reply.parsed or ("abstain", {})
        verdict = Verdict(
            id=verdict_id,
            task_id=task.id,
            round=round,
            judge=judge.name,
            left_id=left_id,
            right_id=right_id,
            choice=choice,
            perspectives=perspectives,
            answer=reply.text,
            prompt_tokens=reply.prompt_tokens,
            completion_tokens=reply.completion_tokens,
            seconds=reply.seconds,
            cost=self._cost(judge, reply),
        )
        await self._ledger.append(verdict)
        return verdict

    async def _rubric(self, judge: Chat, task: Task, round: int, subject_id: str, code: str) -> Rubric:
        rubric_id = derive("rubric", judge.name, task.id, round, subject_id)
        known = await self._ledger.get(Rubric, rubric_id)
        if known is not None:
            return known
        messages = rubric_prompt(task, code, secrets.token_hex(8))
        reply = await inquire(judge, messages, rubric_schema(), parse_rubric, self._max_tokens)
        rubric = Rubric(
            id=rubric_id,
            task_id=task.id,
            round=round,
            judge=judge.name,
            subject_id=subject_id,
            marks=reply.parsed,
            answer=reply.text,
            prompt_tokens=reply.prompt_tokens,
            completion_tokens=reply.completion_tokens,
            seconds=reply.seconds,
            cost=self._cost(judge, reply),
        )
        await self._ledger.append(rubric)
        return rubric

    def _cost(self, judge: Chat, reply: Reply[Any]) -> float | None:
        price = self._prices.get(judge.name)
        if price is None:
            return None
        return (reply.prompt_tokens * price.prompt + reply.completion_tokens * price.completion) / MILLION


def _order(opinion: Opinion) -> tuple[str, str, str]:
    return opinion.judge, opinion.left_id, opinion.right_id
