"""Strengths out of opinions: Bradley-Terry maximum likelihood with a small prior, and win rates out of strengths.

Model: i beats j with probability s_i / (s_i + s_j). A tie is half a win for each. The prior is `prior` wins and as many
losses of everybody against a player of strength 1: it keeps strengths finite, ties unconnected answers together, and is
even-handed (all results reversed give 1 - J). Fitted by minorisation-maximisation (Hunter 2004); `choix` fits the same
model without weights, and the tests compare the two.
"""

from collections.abc import Mapping, Sequence

from method.comparison import Opinion

_ROUNDS = 2000
_TOLERANCE = 1e-10


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
    wins = _wins(ids, opinions)
    strengths = _strengths(ids, wins, prior)
    return {player: _against_field(player, strengths) for player in ids}


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


def _strengths(ids: Sequence[str], wins: Mapping[tuple[str, str], float], prior: float) -> dict[str, float]:
    won = {player: prior + sum(count for (winner, _), count in wins.items() if winner == player) for player in ids}
    strengths = dict.fromkeys(ids, 1.0)
    for _ in range(_ROUNDS):
        games = {player: 2 * prior / (strengths[player] + 1) for player in ids}
        for (winner, loser), count in wins.items():
            share = count / (strengths[winner] + strengths[loser])
            games[winner] += share
            games[loser] += share
        fitted = {player: won[player] / games[player] for player in ids}
        moved = max((abs(fitted[player] - strengths[player]) / fitted[player] for player in ids), default=0.0)
        strengths = fitted
        if moved < _TOLERANCE:
            break
    return strengths


def _against_field(player: str, strengths: Mapping[str, float]) -> float:
    own = strengths[player]
    rates = [own / (own + strength) for other, strength in strengths.items() if other != player]
    return sum(rates) / len(rates) if rates else 0.5
