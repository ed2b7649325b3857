"""How far each judge can be trusted, for free: where compared answers differ in E, an opinion is right or wrong.

Invariants: reliability lies in (0, 1) and is 0.5 before anything is known; a judge no better than a coin weighs
nothing.
"""

import math
from collections.abc import Mapping

import msgspec
from scipy.special import betaincinv

from method.comparison import Opinion
from protocols.records import Choice

DRIFT_DEVIATIONS = 2.576
"""Standard deviations of a difference that chance exceeds once in a hundred times."""


class Tally(msgspec.Struct, frozen=True):
    """Opinions that an execution proved right or wrong; a tie where executions differ is half of each."""

    right: float = 0.0
    wrong: float = 0.0

    @property
    def count(self) -> float:
        """Number of opinions proved right or wrong."""
        return self.right + self.wrong

    @property
    def mean(self) -> float:
        """Mean of the Beta posterior of being right, with a uniform prior."""
        return (1 + self.right) / (2 + self.right + self.wrong)

    @property
    def deviation(self) -> float:
        """Standard deviation of the same posterior."""
        return math.sqrt(self.mean * (1 - self.mean) / (3 + self.count))

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Return the ends between which the same posterior puts `level` of its mass, as much below as above."""
        tail = (1 - level) / 2
        low, high = (float(betaincinv(1 + self.right, 1 + self.wrong, end)) for end in (tail, 1 - tail))
        return low, high

    def drifted_from(self, earlier: "Tally") -> bool:
        """Whether a judge is not what it was: the two differ by more than chance explains, but for one in a hundred."""
        return abs(self.mean - earlier.mean) > DRIFT_DEVIATIONS * math.hypot(self.deviation, earlier.deviation)

    def with_all(self, other: "Tally") -> "Tally":
        """Return both together."""
        return Tally(self.right + other.right, self.wrong + other.wrong)

    def plus(self, right: float) -> "Tally":
        """Return this tally with one more opinion of which the share `right` was right."""
        return Tally(self.right + right, self.wrong + 1 - right)


class Reliability(msgspec.Struct, frozen=True, kw_only=True):
    """One judge's record so far."""

    overall: Tally = Tally()
    perspectives: dict[str, Tally] = {}
    opinions: int = 0
    """Pairs asked (both orders are one), abstentions among them."""
    abstentions: int = 0
    ties: int = 0
    """Ties, position followers among them."""
    first: int = 0
    """Pairs whose choice followed the first position in both orders."""
    second: int = 0

    @property
    def mean(self) -> float:
        """Reliability r, in (0, 1)."""
        return self.overall.mean

    @property
    def position_bias(self) -> float:
        """Share of answered pairs that followed the first position minus that of the second, in [-1, 1]."""
        answered = self.opinions - self.abstentions
        return (self.first - self.second) / answered if answered else 0.0

    @property
    def abstention_rate(self) -> float:
        """Share of pairs without an opinion."""
        return self.abstentions / self.opinions if self.opinions else 0.0


def trusted(by_tests: Mapping[str, Reliability], by_consensus: Mapping[str, Reliability]) -> Mapping[str, Reliability]:
    """Return the records to weigh the judges by: what tests proved, or, before they proved anything, agreement."""
    proven = any(reliability.overall.count for reliability in by_tests.values())
    return by_tests if proven else by_consensus


def update(reliability: Reliability, opinion: Opinion, shares: Mapping[str, float]) -> Reliability:
    """Return `reliability` after one more opinion.

    Args:
        reliability: the judge's record before.
        opinion: what it thinks of one pair.
        shares: E by subject id; a pair of which one is missing, or that is equal in E, proves nothing.
    """
    left, right = shares.get(opinion.left_id), shares.get(opinion.right_id)
    better = None if left is None or right is None or left == right else ("left" if left > right else "right")
    perspectives = dict(reliability.perspectives)
    for name, choice in opinion.perspectives.items():
        perspectives[name] = _after(perspectives.get(name, Tally()), choice, better)
    return Reliability(
        overall=_after(reliability.overall, opinion.choice, better),
        perspectives=perspectives,
        opinions=reliability.opinions + 1,
        abstentions=reliability.abstentions + (opinion.choice == "abstain"),
        ties=reliability.ties + (opinion.choice == "tie"),
        first=reliability.first + (opinion.position == "first"),
        second=reliability.second + (opinion.position == "second"),
    )


def panel_weights(reliabilities: Mapping[str, Reliability]) -> dict[str, float]:
    """Return each judge's weight: the log-odds of its reliability, 0 for one no better than a coin."""
    return {judge: _log_odds(reliability.mean) for judge, reliability in reliabilities.items()}


def panel_reliability(reliabilities: Mapping[str, Reliability]) -> float:
    """Return the panel's r: the mean reliability of its judges, weighted by log-odds; 0.5 when none weighs anything."""
    weights = panel_weights(reliabilities)
    total = sum(weights.values())
    if total <= 0:
        return 0.5
    return sum(weights[judge] * reliability.mean for judge, reliability in reliabilities.items()) / total


def _log_odds(mean: float) -> float:
    return max(0.0, math.log(mean / (1 - mean)))


def _after(tally: Tally, choice: Choice, better: str | None) -> Tally:
    if better is None or choice == "abstain":
        return tally
    return tally.plus(0.5 if choice == "tie" else float(choice == better))
