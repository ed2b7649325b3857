import math
from random import Random

import choix
import pytest
from hypothesis import given
from hypothesis import strategies as st

from method.comparison import Opinion
from method.strength import log_strengths, win_rates
from protocols.records import Choice

IDS = ("a", "b", "c", "d")


def opinion(left: str, right: str, choice: Choice = "left") -> Opinion:
    return Opinion(left, right, choice, {})


def plain(*opinions: Opinion) -> dict[str, float]:
    return win_rates(IDS, [(one, 1.0) for one in opinions])


pairs = st.lists(st.sampled_from(IDS), min_size=2, max_size=2, unique=True)
opinions = st.builds(
    lambda pair, choice: opinion(pair[0], pair[1], choice), pairs, st.sampled_from(["left", "right", "tie", "abstain"])
)
weighted = st.lists(st.tuples(opinions, st.floats(0, 10)), max_size=12)


def test_without_opinions_all_are_equal() -> None:
    assert win_rates(IDS, []) == dict.fromkeys(IDS, 0.5)
    assert win_rates(["a"], []) == {"a": 0.5}
    assert win_rates([], []) == {}


def test_one_win_by_hand() -> None:
    # With s the winner's strength and 1/s the loser's, and one win and one loss against strength 1 as the prior:
    # s^2/(s^2+1) + 2 s/(s+1) = 2, or s^3 - s^2 - 2 = 0, hence s = 1.69562 and J = s^2/(s^2+1) = 0.74194.
    rates = win_rates(["a", "b"], [(opinion("a", "b"), 1.0)], prior=1.0)
    assert rates["a"] == pytest.approx(0.74194, abs=1e-5)
    assert rates["b"] == pytest.approx(1 - rates["a"])


def test_a_chain_of_wins_orders_the_field() -> None:
    rates = plain(opinion("a", "b"), opinion("b", "c"), opinion("c", "d"))
    assert rates["a"] > rates["b"] > rates["c"] > rates["d"]


def test_a_tie_is_half_a_win_for_each() -> None:
    halves = win_rates(IDS, [(opinion("a", "b"), 0.5), (opinion("b", "a"), 0.5)])
    assert plain(opinion("a", "b", "tie")) == pytest.approx(halves)


def test_an_abstention_and_a_weight_of_zero_count_nothing() -> None:
    assert plain(opinion("a", "b", "abstain")) == dict.fromkeys(IDS, 0.5)
    assert win_rates(IDS, [(opinion("a", "b"), 0.0)]) == dict.fromkeys(IDS, 0.5)


def test_one_that_was_never_compared_stands_between_winner_and_loser() -> None:
    rates = plain(opinion("a", "b"))
    assert rates["a"] > rates["c"] == pytest.approx(0.5, abs=0.01)
    assert rates["c"] > rates["b"]


def test_a_weight_is_a_number_of_repetitions() -> None:
    thrice = plain(*[opinion("a", "b")] * 3, opinion("b", "c"))
    assert win_rates(IDS, [(opinion("a", "b"), 3.0), (opinion("b", "c"), 1.0)]) == pytest.approx(thrice)


@pytest.mark.parametrize("bad", [(opinion("a", "z"), 1.0), (opinion("a", "b"), -1.0)])
def test_opinions_outside_the_field_and_negative_weights_are_refused(bad: tuple[Opinion, float]) -> None:
    with pytest.raises(ValueError, match="not of this field"):
        win_rates(IDS, [bad])


BASEBALL = {
    "Milwaukee": (0, 7, 9, 7, 7, 9, 11),
    "Detroit": (6, 0, 7, 5, 11, 9, 9),
    "Toronto": (4, 6, 0, 7, 7, 8, 12),
    "New York": (6, 8, 6, 0, 6, 7, 10),
    "Boston": (6, 2, 6, 7, 0, 7, 12),
    "Cleveland": (4, 4, 5, 6, 6, 0, 6),
    "Baltimore": (2, 4, 1, 3, 1, 7, 0),
}
"""Games won by the team of the row against that of the column: American League, eastern division, 1987 (Agresti,
Categorical Data Analysis)."""
ABILITIES = {
    "Milwaukee": 1.5814,
    "Detroit": 1.4364,
    "Toronto": 1.2945,
    "New York": 1.2476,
    "Boston": 1.1077,
    "Cleveland": 0.6839,
    "Baltimore": 0.0,
}
"""Published maximum likelihood estimates of that table, logarithms relative to Baltimore's."""


def test_a_published_table_has_its_published_estimates() -> None:
    teams = list(BASEBALL)
    table = [
        (opinion(winner, loser), float(count))
        for winner, row in BASEBALL.items()
        for loser, count in zip(teams, row, strict=True)
        if count
    ]
    logs = log_strengths(teams, table, prior=1e-6)
    assert {team: log - logs["Baltimore"] for team, log in logs.items()} == pytest.approx(ABILITIES, abs=1e-4)


@pytest.mark.parametrize(("won", "lost"), [(3, 1), (1, 1), (7, 2), (0, 4)])
def test_two_players_by_hand(won: int, lost: int) -> None:
    # Without a prior the odds are won : lost; the prior's games against strength 1 only draw them together.
    rates = win_rates(["a", "b"], [(opinion("a", "b"), won), (opinion("b", "a"), lost)], prior=1e-7)
    assert rates["a"] == pytest.approx(won / (won + lost), abs=1e-3)


@given(st.lists(pairs, max_size=12))
def test_strengths_are_those_that_choix_finds(wins: list[list[str]]) -> None:
    """The prior is one win and one loss against a further player; choix sees those games as games."""
    rival = len(IDS)
    games = [(IDS.index(winner), IDS.index(loser)) for winner, loser in wins]
    prior = [game for index in range(rival) for game in ((index, rival), (rival, index))]
    strengths = [math.exp(value) for value in choix.mm_pairwise(rival + 1, games + prior, tol=1e-10)][:rival]
    rates = win_rates(IDS, [(opinion(winner, loser), 1.0) for winner, loser in wins], prior=1.0)
    for index, id in enumerate(IDS):
        others = [strength for other, strength in enumerate(strengths) if other != index]
        expected = sum(strengths[index] / (strengths[index] + other) for other in others) / len(others)
        assert rates[id] == pytest.approx(expected, abs=1e-6)


@given(weighted)
def test_rates_are_probabilities_and_average_to_one_half(table: list[tuple[Opinion, float]]) -> None:
    rates = win_rates(IDS, table)
    assert all(0 < rate < 1 for rate in rates.values())
    assert sum(rates.values()) == pytest.approx(len(IDS) / 2)


@given(weighted, st.randoms(use_true_random=False))
def test_the_order_of_opinions_does_not_matter(table: list[tuple[Opinion, float]], rng: Random) -> None:
    shuffled = rng.sample(table, len(table))
    assert win_rates(IDS, shuffled) == pytest.approx(win_rates(IDS, table), abs=1e-8)


@given(weighted)
def test_all_results_reversed_turn_the_table_over(table: list[tuple[Opinion, float]]) -> None:
    reversed_table = [(opinion(one.right_id, one.left_id, one.choice), weight) for one, weight in table]
    rates, others = win_rates(IDS, table), win_rates(IDS, reversed_table)
    assert {id: 1 - rate for id, rate in others.items()} == pytest.approx(rates, abs=1e-6)


@given(weighted, st.permutations(IDS))
def test_names_do_not_matter(table: list[tuple[Opinion, float]], names: list[str]) -> None:
    new = dict(zip(IDS, names, strict=True))
    renamed = [(opinion(new[one.left_id], new[one.right_id], one.choice), weight) for one, weight in table]
    rates = win_rates(IDS, table)
    assert win_rates(IDS, renamed) == pytest.approx({new[id]: rate for id, rate in rates.items()}, abs=1e-6)


@given(weighted, pairs, st.floats(0.1, 5))
def test_a_further_win_never_lowers_the_winner(
    table: list[tuple[Opinion, float]], pair: list[str], weight: float
) -> None:
    before, after = win_rates(IDS, table), win_rates(IDS, [*table, (opinion(*pair), weight)])
    assert after[pair[0]] >= before[pair[0]] - 1e-8
