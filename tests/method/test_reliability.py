import math
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from method.comparison import Opinion, Position
from method.reliability import Reliability, Tally, panel_reliability, panel_weights, update
from protocols.records import Choice

SHARES = {"good": 1.0, "bad": 0.5, "same": 1.0}


def opinion(choice: Choice, *, right: str = "bad", position: Position | None = None, **perspectives: Choice) -> Opinion:
    return Opinion("good", right, choice, perspectives, "j", position)


def after(*opinions: Opinion) -> Reliability:
    result = Reliability()
    for one in opinions:
        result = update(result, one, SHARES)
    return result


def judge(right: float, wrong: float) -> Reliability:
    return Reliability(overall=Tally(right, wrong))


def test_an_unknown_judge_is_a_coin() -> None:
    assert Reliability().mean == 0.5
    assert Reliability().position_bias == Reliability().abstention_rate == 0.0


def test_reliability_is_the_posterior_mean_of_being_right() -> None:
    assert after(opinion("left")).mean == pytest.approx(2 / 3)
    assert after(opinion("left"), opinion("left"), opinion("right")).mean == pytest.approx(3 / 5)


def test_the_better_answer_may_stand_on_either_side() -> None:
    assert update(Reliability(), Opinion("bad", "good", "right", {}), SHARES).overall == Tally(1, 0)


def test_a_tie_where_executions_differ_is_half_right() -> None:
    assert after(opinion("tie")).overall == Tally(0.5, 0.5)


@pytest.mark.parametrize("right", ["same", "unknown"])
def test_answers_that_are_equal_or_were_not_executed_prove_nothing(right: str) -> None:
    result = after(opinion("left", right=right))
    assert result.overall == Tally()
    assert result.opinions == 1


def test_an_abstention_proves_nothing_and_is_counted() -> None:
    result = after(opinion("abstain"), opinion("left"))
    assert result.overall == Tally(1, 0)
    assert result.abstention_rate == 0.5


def test_perspectives_are_measured_each_by_itself() -> None:
    result = after(opinion("left", correctness="left", efficiency="right"), opinion("left", correctness="tie"))
    assert result.perspectives == {"correctness": Tally(1.5, 0.5), "efficiency": Tally(0, 1)}


def test_position_bias_is_signed_and_over_answered_pairs() -> None:
    followed = [opinion("tie", position="first")] * 2 + [opinion("tie", position="second")]
    result = after(*followed, opinion("left"), opinion("abstain"))
    assert result.position_bias == pytest.approx((2 - 1) / 4)
    assert result.ties == 3


def test_a_judge_no_better_than_a_coin_weighs_nothing() -> None:
    weights = panel_weights({"coin": judge(3, 3), "worse": judge(0, 6), "good": judge(8, 0)})
    assert weights == {"coin": 0.0, "worse": 0.0, "good": pytest.approx(math.log(9))}


def test_the_panels_reliability_is_weighted_by_log_odds() -> None:
    # means 0.9 and 0.75, log-odds log 9 and log 3 = 2 to 1; the coin has no say.
    panel = {"a": judge(8, 0), "b": judge(2, 0), "coin": judge(0, 0)}
    assert panel_reliability(panel) == pytest.approx((2 * 0.9 + 0.75) / 3)


def test_a_panel_without_a_reliable_judge_is_a_coin() -> None:
    assert panel_reliability({}) == panel_reliability({"worse": judge(0, 5)}) == 0.5


choices = st.sampled_from(["left", "right", "tie", "abstain"])


@given(st.lists(st.builds(opinion, choices, right=st.sampled_from(["bad", "same", "unknown"])), max_size=20))
def test_counts_add_up(opinions: list[Opinion]) -> None:
    result = after(*opinions)
    labelled = [one for one in opinions if one.right_id == "bad" and one.choice != "abstain"]
    assert result.opinions == len(opinions)
    assert result.overall.right + result.overall.wrong == len(labelled)
    assert 0 < result.mean < 1


@given(st.lists(st.builds(opinion, choices), max_size=8), st.randoms(use_true_random=False))
def test_the_order_of_opinions_does_not_matter(opinions: list[Opinion], rng: Random) -> None:
    shuffled = list(opinions)
    rng.shuffle(shuffled)
    assert after(*shuffled) == after(*opinions)


@given(st.dictionaries(st.text("ab", max_size=3), st.builds(judge, st.floats(0, 50), st.floats(0, 50))))
def test_a_panel_is_no_worse_than_a_coin_and_no_better_than_its_best_judge(panel: dict[str, Reliability]) -> None:
    combined = panel_reliability(panel)
    assert 0.5 <= combined <= max([0.5, *(one.mean for one in panel.values())]) + 1e-12
