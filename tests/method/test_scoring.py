import pytest
from hypothesis import given
from hypothesis import strategies as st

from method.scoring import judge_weight, score
from tests.method.making import execution

shares = st.floats(0, 1)


@pytest.mark.parametrize(("r", "w"), [(1.0, 0.5), (0.75, 0.25), (0.5, 0.0), (0.2, 0.0)])
def test_the_judges_weigh_as_much_as_they_are_reliable(r: float, w: float) -> None:
    assert judge_weight(0.5, r) == w


def test_a_score_mixes_execution_and_win_rate() -> None:
    result = score("c", execution("c", "1110"), 0.5, 0.4)
    assert result.value == pytest.approx(0.6 * 0.75 + 0.4 * 0.5)
    assert (result.execution_share, result.win_rate, result.weight) == (0.75, 0.5, 0.4)


def test_without_judges_the_score_is_the_share_of_tests_passed() -> None:
    result = score("c", execution("c", "10"), None, 0.4)
    assert (result.value, result.weight) == (0.5, 0.0)


def test_what_cannot_be_executed_scores_nothing_whatever_judges_say() -> None:
    result = score("c", execution("c", "00", error_class="syntax"), 1.0, 0.5)
    assert (result.value, result.weight, result.win_rate) == (0.0, 0.0, None)


def test_failing_every_test_is_not_the_same_as_not_being_executable() -> None:
    assert score("c", execution("c", "00"), 1.0, 0.5).value == 0.5


def test_consensus_brings_its_own_share() -> None:
    result = score("c", execution("c", "10", evidence="consensus"), None, 0.0, execution_share=0.8)
    assert result.value == result.execution_share == 0.8


@given(st.text("01", max_size=6), st.one_of(st.none(), shares), shares, shares)
def test_scores_lie_between_zero_and_one(marks: str, win_rate: float | None, w_max: float, r: float) -> None:
    weight = judge_weight(w_max, r)
    assert 0 <= weight <= w_max
    assert 0 <= score("c", execution("c", marks), win_rate, weight).value <= 1 + 1e-12


@given(shares, shares, shares, shares)
def test_a_higher_win_rate_never_lowers_a_score(w_max: float, r: float, one: float, other: float) -> None:
    weight = judge_weight(w_max, r)
    low, high = sorted((one, other))
    run = execution("c", "110")
    assert score("c", run, low, weight).value <= score("c", run, high, weight).value + 1e-12
