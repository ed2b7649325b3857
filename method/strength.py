# pyright: reportUnknownVariableType=false
# (scipy's optimiser takes and returns what has no types)
"""Strengths out of opinions: Bradley-Terry maximum likelihood with a small prior, and win rates out of strengths.

Model: i beats j with probability s_i / (s_i + s_j). A tie is half a win for each. The prior is `prior` wins and as many
losses of everybody against a player of strength 1: it keeps strengths finite, ties unconnected answers together, and is
even-handed (all results reversed give 1 - J). Fitted by scipy's optimiser; `choix` fits the same model without weights,
and the tests compare the two.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit

from method.comparison import Opinion

Vector = NDArray[np.float64]

_minimize = cast("Callable[..., Any]", minimize)
_GRADIENT = 1e-9
"""Where the fit ends: games that a player won more, or fewer, than its strength explains."""


def win_rates(ids: Sequence[str], opinions: Sequence[tuple[Opinion, float]], *, prior: float = 0.5) -> dict[str, float]:
    """Return J of every id: its expected win rate against the others, in (0, 1).

    Args:
        ids: the field, distinct.
        opinions: with weights of 0 or more; abstentions count nothing.
        prior: above 0.

    Returns:
        0.5 for all when there is no opinion, or nobody to compare with.

    Raises:
        ValueError: an opinion is on an answer that is not in the field, or has a negative weight.
    """
    logs = log_strengths(ids, opinions, prior=prior)
    return {player: _against_field(player, logs) for player in ids}


def log_strengths(
    ids: Sequence[str], opinions: Sequence[tuple[Opinion, float]], *, prior: float = 0.5
) -> dict[str, float]:
    """Return the natural logarithm of each strength; 0 is that of the player whom the prior compares with.

    Arguments and errors as `win_rates`.
    """
    wins = _wins(ids, opinions)
    return _fitted(ids, wins, prior) if any(wins.values()) else dict.fromkeys(ids, 0.0)


def _wins(ids: Sequence[str], opinions: Sequence[tuple[Opinion, float]]) -> dict[tuple[str, str], float]:
    """Return how much (winner, loser) was seen; both orders are there for every pair that was compared."""
    field = set(ids)
    wins: dict[tuple[str, str], float] = {}
    for opinion, weight in opinions:
        if weight < 0 or not {opinion.left_id, opinion.right_id} <= field:
            raise ValueError(
                f"opinion on {opinion.left_id} and {opinion.right_id} (weight {weight}) is not of this field"
            )
        if opinion.choice == "abstain":
            continue
        left = {"left": 1.0, "right": 0.0, "tie": 0.5}[opinion.choice] * weight
        for pair, won in (
            ((opinion.left_id, opinion.right_id), left),
            ((opinion.right_id, opinion.left_id), weight - left),
        ):
            wins[pair] = wins.get(pair, 0.0) + won
    return wins


def _fitted(ids: Sequence[str], wins: Mapping[tuple[str, str], float], prior: float) -> dict[str, float]:
    """Return the logarithm of each strength: where the posterior is highest, which is one point (it is concave)."""
    places = {player: place for place, player in enumerate(ids)}
    won = np.zeros((len(ids) + 1, len(ids) + 1))
    for (winner, loser), count in wins.items():
        won[places[winner], places[loser]] = count
    won[-1, :-1] = won[:-1, -1] = prior  # against the player of strength 1, the last
    games = won + won.T

    def differences(logs: Vector) -> Vector:
        every = np.append(logs, 0.0)
        return every[:, None] - every[None, :]

    def loss(logs: Vector) -> float:
        return float(np.sum(won * np.logaddexp(0.0, -differences(logs))))

    def slope(logs: Vector) -> Vector:
        return (games * expit(differences(logs)) - won).sum(axis=1)[:-1]

    def curvature(logs: Vector) -> Vector:
        apart = differences(logs)
        shares = games * expit(apart) * expit(-apart)
        return (np.diag(shares.sum(axis=1)) - shares)[:-1, :-1]

    start = np.zeros(len(ids))
    found = _minimize(loss, start, method="trust-exact", jac=slope, hess=curvature, options={"gtol": _GRADIENT})
    return dict(zip(ids, map(float, found.x), strict=True))


def _against_field(player: str, logs: Mapping[str, float]) -> float:
    rates = [float(expit(logs[player] - log)) for other, log in logs.items() if other != player]
    return sum(rates) / len(rates) if rates else 0.5
