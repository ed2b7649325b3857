"""Curation once more, from a run's journal: what other settings would have kept of the same work.

Everything that curation sees is on record (candidates, executions, decisions, critiques), so examples are made again
and filtered in the order in which the run did it. With the run's own settings the outcome is the run's own.

Not covered: what other examples would have trained, and so what later rounds would have brought. A batch whose version
was refused in the run counts as refused here too, by its number. Batches that the run cut for their age are cut by the
records' times.
"""

import random
from collections import defaultdict
from collections.abc import Iterable, Sequence

import msgspec

from actors.curator import CurationRule, made_of
from ledger.queries import Entry
from method.curation import Duplicates, OverlapIndex, Reason, curate, cut_batch, ready, resembled
from method.making import Made, Outcome
from protocols.identity import derive
from protocols.records import (
    Candidate,
    Critique,
    Decision,
    Example,
    Execution,
    FilterCount,
    LedgerRecord,
    PolicyVersion,
    Quarantined,
    Round,
    Task,
)


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """One task in one round, as curation got it."""

    outcome: Outcome
    at: float
    """Unix time in seconds."""
    ends_round: bool
    """Whether it was the last of its round."""


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """One example that was refused."""

    example: Example
    reason: Reason
    resembles: str
    """The evaluation task or example that it was too much like; empty for other reasons."""


class CutBatch(msgspec.Struct, frozen=True, kw_only=True):
    """One batch."""

    number: int
    round: int
    examples: tuple[Example, ...]
    replayed: int


class Recuration(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it."""

    kept: tuple[Example, ...]
    refused: tuple[Refused, ...]
    batches: tuple[CutBatch, ...]


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """What a run's journal holds of its curation, and for it."""

    turns: tuple[Turn, ...]
    kept: tuple[Example, ...]
    """By the run."""
    refused: tuple[FilterCount, ...]
    refused_batches: frozenset[int]
    """Numbers of the batches whose version was refused."""


def read_work(entries: Iterable[Entry[LedgerRecord]]) -> Work:
    """Return what a journal's `entries`, given in their order, hold; tasks without a decision are left out."""
    journal = _Journal()
    for entry in entries:
        journal.add(entry)
    return Work(
        turns=journal.turns(),
        kept=tuple(journal.kept),
        refused=tuple(journal.refused),
        refused_batches=frozenset(journal.refused_batches),
    )


def recurate(work: Work, rule: CurationRule, overlap: OverlapIndex) -> Recuration:
    """Return what `rule` keeps of a run's work.

    Args:
        work: of the run.
        rule: settings of curation.
        overlap: index of the tasks that must not be trained on.
    """
    again = _Again(rule, overlap, work.refused_batches)
    for turn in work.turns:
        again.take(turn)
    return Recuration(kept=tuple(again.kept), refused=tuple(again.refused), batches=tuple(again.batches))


_Key = tuple[str, int]


class _Journal:
    def __init__(self) -> None:
        self.kept: list[Example] = []
        self.refused: list[FilterCount] = []
        self.refused_batches: set[int] = set()
        self._tasks: dict[str, Task] = {}
        self._candidates: defaultdict[_Key, list[Candidate]] = defaultdict(list)
        self._critiques: defaultdict[_Key, list[Critique]] = defaultdict(list)
        self._executions: dict[str, Execution] = {}
        self._decisions: dict[_Key, Decision] = {}
        self._places: dict[_Key, tuple[int, float]] = {}
        """Where curation came to a task: at its first example or refusal, or else at its last record before that."""
        self._curated: set[_Key] = set()
        self._plans: dict[int, set[str]] = {}
        self._lost: set[_Key] = set()

    def add(self, entry: Entry[LedgerRecord]) -> None:
        record = entry.record
        match record:
            case Task():
                self._tasks[record.id] = record
            case Candidate():
                self._candidates[record.task_id, record.round].append(record)
            case Execution():
                self._executions[record.subject_id] = record
            case Decision():
                self._decisions[record.task_id, record.round] = record
                self._place((record.task_id, record.round), entry)
            case Critique():
                self._critiques[record.task_id, record.round].append(record)
                self._place((record.task_id, record.round), entry)
            case Example() | FilterCount():
                self._curate(record, entry)
            case _:
                self._add_plan(record)

    def _add_plan(self, record: LedgerRecord) -> None:
        match record:
            case Round():
                self._plans[record.number] = set(record.task_ids)
            case Quarantined() if record.task_id is not None:
                self._lost.add((record.task_id, record.round))
            case PolicyVersion() if record.state in ("rejected", "failed"):
                self.refused_batches.add(record.number)
            case _:
                pass

    def _curate(self, record: Example | FilterCount, entry: Entry[LedgerRecord]) -> None:
        if isinstance(record, Example):
            self.kept.append(record)
        else:
            self.refused.append(record)
        self._place((record.task_id, record.round), entry)
        self._curated.add((record.task_id, record.round))

    def _place(self, key: _Key, entry: Entry[LedgerRecord]) -> None:
        if key not in self._curated:
            self._places[key] = (entry.sequence, entry.at)

    def turns(self) -> tuple[Turn, ...]:
        """Return the tasks in the order of curation, without those that came to grief on their way."""
        fit = (key for key in self._decisions if key[0] in self._tasks and key not in self._lost)
        keys = sorted(fit, key=lambda key: self._places[key])
        ended = self._decisions.keys() | self._lost
        whole = {round for round, tasks in self._plans.items() if {(task, round) for task in tasks} <= ended}
        last = {key[1]: key for key in keys if key[1] in whole}
        return tuple(self._turn(key, ends_round=last.get(key[1]) == key) for key in keys)

    def _turn(self, key: _Key, *, ends_round: bool) -> Turn:
        candidates = tuple(self._candidates[key])
        outcome = Outcome(
            task=self._tasks[key[0]],
            candidates=candidates,
            executions={one.id: self._executions[one.id] for one in candidates if one.id in self._executions},
            decision=self._decisions[key],
            critiques=tuple(sorted(self._critiques[key], key=lambda critique: critique.id)),
        )
        return Turn(outcome=outcome, at=self._places[key][1], ends_round=ends_round)


class _Again:
    """The Curator's bookkeeping without its channels."""

    def __init__(self, rule: CurationRule, overlap: OverlapIndex, refused_batches: frozenset[int]) -> None:
        self.kept: list[Example] = []
        self.refused: list[Refused] = []
        self.batches: list[CutBatch] = []
        self._rule = rule
        self._overlap = overlap
        self._refused_batches = refused_batches
        self._pending: list[Example] = []
        self._oldest: float | None = None
        self._withdrawn: set[str] = set()
        """Ids of examples whose batch was refused."""
        self._duplicates = self._index()

    def take(self, turn: Turn) -> None:
        """Curate one task, and cut what is ready before and after."""
        round = turn.outcome.decision.round
        self._withdraw(round)
        self._cut_if_ready(round, turn.at, round_ended=False)
        self._keep(made_of(turn.outcome, self._rule), turn.at)
        # As the Curator: the end of a round is looked at first, then the size.
        if turn.ends_round:
            self._cut_if_ready(round, turn.at, round_ended=True)
        self._cut_if_ready(round, turn.at, round_ended=False)

    def _keep(self, made: Sequence[Made], at: float) -> None:
        rule = self._rule
        kept, refused = curate(
            [one.example for one in made],
            self._current(),
            overlap=self._overlap,
            duplicate_similarity=rule.duplicate_similarity,
            max_example_tokens=rule.max_example_tokens,
            per_task=rule.per_task,
            pattern_share=rule.pattern_share,
            truncated_ids={one.example.id for one in made if one.truncated},
            pending_ids={example.id for example in self._pending},
            duplicates=self._duplicates,
        )
        self.kept.extend(kept)
        self._pending.extend(kept)
        self.refused.extend(
            Refused(
                example=example,
                reason=reason,
                resembles=resembled(example, reason, self._overlap, self._duplicates),
            )
            for example, reason in refused
        )
        if kept and self._oldest is None:
            self._oldest = at

    def _cut_if_ready(self, round: int, at: float, *, round_ended: bool) -> None:
        rule = self._rule
        age_s = 0.0 if self._oldest is None else at - self._oldest
        count = len(self._pending)
        if not count or not ready(
            count, age_s, round_ended, size=rule.size, min_size=rule.min_size, max_age_s=rule.max_age_s
        ):
            return
        number = len(self.batches) + 1
        pending = {example.id for example in self._pending}
        examples, replayed = cut_batch(
            self._pending,
            [example for example in self._current() if example.id not in pending],
            replay_share=rule.replay,
            mode=rule.mode,
            every_answer=rule.answers == "correct_only",
            critiques=rule.critiques,
            rng=random.Random(derive("batch", rule.seed, number)),
        )
        self.batches.append(CutBatch(number=number, round=round, examples=examples, replayed=replayed))
        self._pending, self._oldest = [], None

    def _withdraw(self, round: int) -> None:
        """Take back the new examples of batches of earlier rounds whose version was refused."""
        ids = {
            example.id
            for batch in self.batches
            if batch.number in self._refused_batches and batch.round < round
            for example in batch.examples[: len(batch.examples) - batch.replayed]
        }
        if ids != self._withdrawn:
            self._withdrawn = ids
            self._duplicates = self._index()

    def _current(self) -> list[Example]:
        return [example for example in self.kept if example.id not in self._withdrawn]

    def _index(self) -> Duplicates:
        rule = self._rule
        return Duplicates(rule.duplicate_similarity, self._current(), supersede=rule.answers != "correct_only")
