"""The Curator: makes examples of what the round decided, filters them, and cuts batches.

It counts each round's tasks; when the last one has ended and the round's last batch is sent, it sends `RoundClosed`.
One task at a time: its work is small, and the order of examples is the order in which tasks ended. The task in hand
survives a failure of its surroundings, and is taken again; nothing is kept or counted twice.
"""

import random
from collections import defaultdict
from collections.abc import Sequence
from typing import Literal

import msgspec
import structlog
import trio

from actors.failures import surroundings
from actors.messages import Criticised, Ended, Item, RoundClosed
from actors.quarantine import quarantine_record
from method.curation import Critiques, Duplicates, OverlapIndex, curate, cut_batch, ready, resembled
from method.making import Answers, Made, Outcome, Unverified, make_examples
from protocols.identity import derive
from protocols.ports import Ledger
from protocols.records import Batch, Example, FilterCount, PolicyVersion, Round

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


REFUSED_LENGTH = 500
"""Characters that are kept of a refused example's code, for the report."""


class CurationRule(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of step 7; see `protocols.settings.CurateSettings` for each."""

    size: int
    min_size: int
    max_age_s: float
    replay: float
    duplicate_similarity: float
    max_example_tokens: int
    per_task: int
    pattern_share: float
    mode: Literal["restart", "continue"]
    references: Literal["train", "anchor", "hidden"]
    seed: int
    answers: Answers = "decided"
    critiques: Critiques = "all"
    unverified: Unverified = "incumbent"


class CuratorStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """What the Curator holds."""

    pending: int
    """Examples that are in no batch yet."""
    batches: int
    ended: int
    """Tasks of the open rounds that have ended."""


class Curator:
    """Step 7 of the method.

    Args:
        evaluation_tasks: overlap index of every task that must never be trained on.
        outbox: to the Trainer.
    """

    def __init__(
        self,
        ledger: Ledger,
        inbox: "trio.MemoryReceiveChannel[Item]",
        outbox: "trio.MemorySendChannel[Batch | RoundClosed]",
        evaluation_tasks: OverlapIndex,
        rule: CurationRule,
    ) -> None:
        self._ledger = ledger
        self._inbox = inbox
        self._outbox = outbox
        self._overlap = evaluation_tasks
        self._rule = rule
        self._kept: list[Example] = []
        self._pending: list[Example] = []
        self._oldest: float | None = None
        self._ended: dict[int, set[str]] = defaultdict(set)
        self._unsent: list[Batch | RoundClosed] = []
        self._batches = 0
        self._restored = False
        self._in_hand: Item | None = None
        self._refused: frozenset[str] = frozenset()
        self._duplicates = self._new_index(())
        self._indexed = False

    def statistics(self) -> CuratorStatistics:
        """Return what the Curator holds now."""
        return CuratorStatistics(
            pending=len(self._pending),
            batches=self._batches,
            ended=sum(len(ended) for ended in self._ended.values()),
        )

    async def run(self) -> None:
        """Curate until the inbox ends, then close the outbox."""
        await self._restore()
        await self._send_all()
        while True:
            if self._in_hand is None:
                with trio.move_on_after(self._remaining_s()):
                    try:
                        self._in_hand = await self._inbox.receive()
                    except trio.EndOfChannel:
                        break
            if self._in_hand is not None:
                await self._handle(self._in_hand)
                self._in_hand = None
            if self._pending:
                await self._cut_if_ready(max(example.round for example in self._pending), round_ended=False)
            await self._send_all()
        await self._outbox.aclose()

    async def _restore(self) -> None:
        """Take up the examples that are in no batch, and send again the batches that made no version."""
        if self._restored:
            return
        batches = await self._ledger.find(Batch)
        batched = {example_id for batch in batches for example_id in batch.example_ids}
        self._batches = max((batch.number for batch in batches), default=0)
        self._kept = list(await self._ledger.find(Example))
        # What follows the last batched example: those between may be in no batch because a later answer replaced them.
        last = max((place for place, example in enumerate(self._kept) if example.id in batched), default=-1)
        self._pending = self._kept[last + 1 :]
        self._oldest = trio.current_time() if self._pending else None
        published = {version.batch_id for version in await self._ledger.find(PolicyVersion)}
        self._unsent = [batch for batch in batches if batch.id not in published]
        self._restored = True

    def _remaining_s(self) -> float:
        if self._oldest is None or len(self._pending) < self._rule.min_size:
            return float("inf")
        return max(0.0, self._oldest + self._rule.max_age_s - trio.current_time())

    async def _handle(self, item: Item) -> None:
        """Take an item; one that the rules cannot digest is quarantined at once, since they would fail again."""
        try:
            await self._take(item)
        except Exception as error:
            if surroundings(error) or isinstance(item, Ended):
                raise
            await self._ledger.append(quarantine_record("curator", item, error))
            await self._take(Ended(task=item.task, round=item.round))

    async def _take(self, item: Item) -> None:
        if isinstance(item, Criticised):
            await self._keep(made_of(_outcome(item), self._rule))
        elif not isinstance(item, Ended):
            raise TypeError(f"the Curator cannot take a {type(item).__name__}")
        self._ended[item.round].add(item.task.id)
        plan = await self._ledger.get(Round, derive("round", item.round))
        if plan is not None and self._ended[item.round] >= set(plan.task_ids):
            await self._cut_if_ready(item.round, round_ended=True)
            self._unsent.append(RoundClosed(round=item.round))
            del self._ended[item.round]

    async def _keep(self, made: Sequence[Made]) -> None:
        new = [one.example for one in made if not await self._is_known(one.example)]
        if not new:
            return
        await self._index()
        self._indexed = False  # until what the index is given now is on record
        kept, refused = curate(
            new,
            self._current(),
            overlap=self._overlap,
            duplicate_similarity=self._rule.duplicate_similarity,
            max_example_tokens=self._rule.max_example_tokens,
            per_task=self._rule.per_task,
            pattern_share=self._rule.pattern_share,
            truncated_ids={one.example.id for one in made if one.truncated},
            pending_ids={example.id for example in self._pending},
            duplicates=self._duplicates,
        )
        counts = [
            FilterCount(
                id=_filter_id(one),
                task_id=one.task_id,
                round=one.round,
                reason=reason,
                kind=one.kind,
                code=one.code[:REFUSED_LENGTH],
                resembles=resembled(one, reason, self._overlap, self._duplicates),
            )
            for one, reason in refused
        ]
        await self._ledger.append(*kept, *counts)
        self._indexed = True
        self._kept.extend(kept)
        self._pending.extend(kept)
        if kept and self._oldest is None:
            self._oldest = trio.current_time()

    async def _is_known(self, example: Example) -> bool:
        """Whether it was kept or refused before; a second look might find another answer."""
        kept = await self._ledger.get(Example, example.id)
        return kept is not None or await self._ledger.get(FilterCount, _filter_id(example)) is not None

    def _current(self) -> tuple[Example, ...]:
        """Return the examples that may be trained on: all but those whose batch was refused."""
        return tuple(example for example in self._kept if example.id not in self._refused)

    async def _index(self) -> None:
        """Take note of batches refused since; the work of such a batch may be done again, so it is no duplicate."""
        refused = await self._quarantined()
        if refused != self._refused or not self._indexed:
            self._refused = refused
            self._duplicates = self._new_index(self._current())
            self._indexed = True

    def _new_index(self, seen: Sequence[Example]) -> Duplicates:
        rule = self._rule
        return Duplicates(rule.duplicate_similarity, seen, supersede=rule.answers != "correct_only")

    async def _quarantined(self) -> frozenset[str]:
        rejected = {v.batch_id for v in await self._ledger.find(PolicyVersion) if v.state in ("rejected", "failed")}
        return frozenset(
            example_id
            for batch in await self._ledger.find(Batch)
            if batch.id in rejected
            for example_id in batch.example_ids[: len(batch.example_ids) - batch.replayed]
        )

    async def _cut_if_ready(self, round: int, *, round_ended: bool) -> None:
        rule = self._rule
        age_s = 0.0
        if self._oldest is not None:
            now = trio.current_time()
            age_s = rule.max_age_s if now >= self._oldest + rule.max_age_s else now - self._oldest
        if not ready(
            len(self._pending),
            age_s,
            round_ended,
            size=rule.size,
            min_size=rule.min_size,
            max_age_s=rule.max_age_s,
        ):
            return
        await self._index()
        number = self._batches + 1
        pending = {example.id for example in self._pending}
        earlier = [example for example in self._current() if example.id not in pending]
        examples, replayed = cut_batch(
            self._pending,
            earlier,
            replay_share=rule.replay,
            mode=rule.mode,
            every_answer=rule.answers == "correct_only",
            critiques=rule.critiques,
            rng=random.Random(derive("batch", rule.seed, number)),
        )
        batch = Batch(
            id=derive("batch", number),
            number=number,
            round=round,
            version=max((example.version for example in self._pending), default=0),
            example_ids=tuple(example.id for example in examples),
            replayed=replayed,
        )
        await self._ledger.append(batch)
        log.info("batch_cut", batch=number, round=round, examples=len(examples), replayed=replayed)
        self._batches, self._pending, self._oldest = number, [], None
        self._unsent.append(batch)

    async def _send_all(self) -> None:
        while self._unsent:
            await self._outbox.send(self._unsent[0])
            self._unsent.pop(0)


def _filter_id(example: Example) -> str:
    return derive("filter", example.id)


def made_of(outcome: Outcome, rule: CurationRule) -> tuple[Made, ...]:
    """Return the examples that one task leaves under `rule`."""
    return make_examples(outcome, references=rule.references, answers=rule.answers, unverified=rule.unverified)


def _outcome(item: Criticised) -> Outcome:
    return Outcome(
        task=item.task,
        candidates=item.candidates,
        executions=item.executions,
        decision=item.decision,
        critiques=item.critiques,
    )
