"""One task before the judges: whom they are asked about, and what win rates come of it.

Invariant: J is taken among those on whose scores the decision hangs (`method.decision.needed_candidates`), whether or
not more was asked. What is asked beyond them, because nothing is to be left out or to measure the judges, teaches about
the judges and changes no score, so that lazy and exhaustive judging decide alike.
"""

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Literal

import msgspec

from actors.messages import Executed
from actors.panel import Panel
from method.comparison import Opinion, Pair, Schedule, field_of, most_pairs, schedule_pairs, swiss_round, swiss_rounds
from method.rubric import implied_opinions, rubric_rates
from method.strength import win_rates

JudgeMode = Literal["pairwise", "rubric", "off"]


class JudgeRule(msgspec.Struct, frozen=True, kw_only=True):
    """How the judges are asked; see `protocols.settings.JudgeSettings` for each."""

    mode: JudgeMode = "pairwise"
    schedule: Schedule = "anchor"
    max_pairs: int = 4


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it."""

    rates: dict[str, float] = {}
    """J by subject id; empty when no score hangs on the judges."""
    opinions: tuple[Opinion, ...] = ()
    """All that the judges said, to measure them by once the task is decided."""
    compared: int = 0
    """Comparisons, or rubrics, that each judge was asked for."""
    comparable: int = 0
    """Those that would have been asked if nothing were left out."""


class Judging:
    """The judges' part in one task.

    Args:
        open_ids: the candidates on whose scores the decision hangs.
        executable_ids: all that might be compared.
        exhaustive: whether all of them are.
        weights: by judge.
    """

    def __init__(
        self,
        panel: Panel,
        rule: JudgeRule,
        item: Executed,
        *,
        open_ids: Sequence[str],
        executable_ids: Sequence[str],
        exhaustive: bool,
        weights: Mapping[str, float],
    ) -> None:
        self._panel = panel
        self._rule = rule
        self._item = item
        self._open = tuple(open_ids)
        self._executable = tuple(executable_ids)
        self._exhaustive = exhaustive
        self._weights = weights
        self._incumbent_id = item.incumbent.subject_id if item.incumbent is not None else None
        self._standings = {subject: item.share(subject) for subject in item.executions}
        self._codes = {candidate.id: candidate.code or "" for candidate in item.candidates}
        if item.incumbent is not None:
            self._codes[item.incumbent.subject_id] = item.incumbent.code

    async def run(self) -> Outcome:
        """Ask, and return what came of it.

        Raises:
            EndpointError: a judge could not be asked.
        """
        if self._rule.mode == "off":
            return Outcome()
        return await (self._mark() if self._rule.mode == "rubric" else self._compare())

    async def _compare(self) -> Outcome:
        asked: set[frozenset[str]] = set()
        telling = await self._hold(self._open, asked)
        more = await self._hold(self._executable, asked) if self._exhaustive else ()
        comparable = most_pairs(
            self._rule.schedule,
            len(self._executable),
            incumbent=self._incumbent_id is not None,
            max_pairs=self._rule.max_pairs,
        )
        weighed = [(opinion, self._weights[opinion.judge]) for opinion in telling]
        return Outcome(
            rates=win_rates(self._field(self._open), weighed) if weighed else {},
            opinions=(*telling, *more),
            compared=len(asked),
            comparable=max(comparable, len(asked)),
        )

    async def _hold(self, ids: Sequence[str], asked: set[frozenset[str]]) -> tuple[Opinion, ...]:
        """Return the opinions of the schedule's pairs among `ids`, as far as there is room; adds to `asked`."""
        known: list[Opinion] = []
        for _ in range(swiss_rounds(len(self._field(ids))) if self._rule.schedule == "swiss" else 1):
            pairs = [pair for pair in self._schedule(ids, known) if self._room(pair, asked)]
            if pairs:
                known.extend(await self._panel.compare(self._item.task, self._item.round, pairs, self._codes))
        return tuple(known)

    def _schedule(self, ids: Sequence[str], known: Sequence[Opinion]) -> tuple[Pair, ...]:
        rule = self._rule
        if rule.schedule == "swiss":  # who meets whom depends on the rounds before
            return swiss_round(self._field(ids), known, self._standings)
        return schedule_pairs(rule.schedule, ids, self._incumbent_id, rule.max_pairs, self._standings)

    def _room(self, pair: Pair, asked: set[frozenset[str]]) -> bool:
        """Whether a pair may be asked about; if so, it is noted. One that was asked about costs nothing again."""
        ids = frozenset((pair.left_id, pair.right_id))
        if ids not in asked and len(asked) >= self._rule.max_pairs:
            return False
        asked.add(ids)
        return True

    async def _mark(self) -> Outcome:
        limit = self._rule.max_pairs
        telling, everybody = self._best(self._open)[:limit], self._best(self._executable)[:limit]
        marked = [*telling, *(id for id in everybody if self._exhaustive and id not in telling)][:limit]
        subjects = self._field(marked) if marked else ()
        codes = {subject: self._codes[subject] for subject in subjects}
        ratings = await self._panel.mark(self._item.task, self._item.round, codes)
        weighed = [(rating, self._weights[rating.judge]) for rating in ratings]
        by_judge = [tuple(given) for _, given in groupby(ratings, key=lambda rating: rating.judge)]
        return Outcome(
            rates=rubric_rates(self._field(self._open), weighed) if telling else {},
            opinions=tuple(opinion for given in by_judge for opinion in implied_opinions(given)),
            compared=len(subjects),
            comparable=len(self._field(everybody)) if everybody else 0,
        )

    def _best(self, ids: Sequence[str]) -> list[str]:
        return sorted(ids, key=lambda subject: -self._standings[subject])

    def _field(self, ids: Sequence[str]) -> tuple[str, ...]:
        return field_of(ids, self._incumbent_id)
