"""Lazy judging: whose scores, each known only to lie in an interval, leave a row of the decision table open.

Before judging, S of an executable subject lies in [(1 - w) E, (1 - w) E + w]. Invariant (tested against the exhaustive
decision): whatever the scores of those left out are within their intervals, the decision is the same. It errs towards
asking: a comparison within rounding error of its threshold counts as open.
"""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from method.decision_rule import DecisionRule
from method.standing import Standing, heirs

_ROUNDING = 1e-9


class Stakes(NamedTuple):
    """What the decision depends on besides executions and scores."""

    weight: float
    """Of the judges' part in S."""
    rule: DecisionRule
    may_keep: bool
    """Whether the task's incumbent may still be kept."""


class _Interval(msgspec.Struct, frozen=True):
    low: float
    high: float

    def below(self, other: "_Interval", margin: float = 0.0) -> bool:
        """Whether it is surely less than `other` + `margin`."""
        return self.high < other.low + margin - _ROUNDING

    def above(self, other: "_Interval", margin: float = 0.0) -> bool:
        """Whether it is surely more than `other` + `margin`."""
        return self.low > other.high + margin + _ROUNDING


_SOLVED_BAR = _Interval(1.0, 1.0)


def needed(standings: Sequence[Standing], own: Standing | None, stakes: Stakes) -> frozenset[str]:
    """Return the ids of the subjects, the incumbent `own` among them, whose scores the decision may hang on."""
    if stakes.weight <= 0:
        return frozenset()
    return _Question(standings, own, stakes).needed()


class _Question:
    """One task's open rows."""

    def __init__(self, standings: Sequence[Standing], own: Standing | None, stakes: Stakes) -> None:
        self._standings = standings
        self._own = own
        self._stakes = stakes
        everyone = [*standings, *([own] if own else [])]
        self._ranges = {s.id: _interval(s, stakes.weight) for s in everyone}
        self._contenders = self._may_lead(heirs(standings, own))

    def needed(self) -> frozenset[str]:
        open_ = self._open_succession() | self._open_critiques()
        return frozenset(open_ | self._open_keep())

    def _may_lead(self, standings: Sequence[Standing]) -> list[str]:
        """Return whoever may have the highest score of `standings`."""
        return [s.id for s in standings if not any(self._ranges[s.id].below(self._ranges[o.id]) for o in standings)]

    def _surely_replaced(self) -> bool:
        if self._own is None:
            return bool(self._contenders)
        own = self._ranges[self._own.id]
        return any(self._ranges[subject].above(own, self._stakes.rule.d_up) for subject in self._contenders)

    def _may_be_replaced(self) -> bool:
        if self._own is None:
            return bool(self._contenders)
        own = self._ranges[self._own.id]
        return any(not self._ranges[subject].below(own, self._stakes.rule.d_up) for subject in self._contenders)

    def _open_succession(self) -> set[str]:
        if not self._may_be_replaced():
            return set()
        if not self._surely_replaced():
            return {*self._contenders, *self._incumbents()}
        return set(self._contenders) if len(self._contenders) > 1 else set()

    def _incumbents(self) -> list[str]:
        """Return whoever may be the incumbent after the decision."""
        own = [] if self._own is None or self._surely_replaced() else [self._own.id]
        return [*own, *(self._contenders if self._may_be_replaced() else [])]

    def _bars(self, subject: str) -> list[tuple[str | None, _Interval]]:
        """Return whose scores may be the bar below which the candidate `subject` is critiqued."""
        incumbents = self._incumbents()
        if not incumbents:
            return [(None, _SOLVED_BAR)]
        return [(other, self._ranges[other]) for other in incumbents if other != subject]

    def _is_low(self, standing: Standing) -> bool | None:
        """Return whether a candidate will be critiqued; None while that is open."""
        bars = self._bars(standing.id)
        if bars == [(None, _SOLVED_BAR)] and standing.solved:
            return False
        if not bars:  # it is the incumbent
            return False
        own, margin = self._ranges[standing.id], -self._stakes.rule.d_low
        if all(own.below(bar, margin) for _, bar in bars):
            return True
        return False if all(own.above(bar, margin) for _, bar in bars) else None

    def _open_critiques(self) -> set[str]:
        open_: set[str] = set()
        for standing in self._standings:
            if self._is_low(standing) is None:
                open_ |= {standing.id, *(subject for subject, _ in self._bars(standing.id) if subject is not None)}
        return open_

    def _open_keep(self) -> set[str]:
        own, stakes = self._own, self._stakes
        if own is None or not stakes.may_keep or self._surely_replaced():
            return set()
        if stakes.rule.keep == "alone" and any(self._is_low(standing) for standing in self._standings):
            return set()
        able = [s for s in self._standings if s.executable and s.covers(own) and self._may_equal(s.id, own.id)]
        # One alone either surely confirms the incumbent, or is open in another row already.
        if len(able) <= 1:
            return set()
        return {own.id, *(s.id for s in able)}

    def _may_equal(self, subject: str, own: str) -> bool:
        score, bar = self._ranges[subject], self._ranges[own]
        return not score.below(bar, -self._stakes.rule.d_low) and not score.above(bar, self._stakes.rule.d_up)


def _interval(standing: Standing, weight: float) -> _Interval:
    if not standing.executable:
        return _Interval(0.0, 0.0)
    low = (1 - weight) * standing.share
    return _Interval(low, low + weight)
