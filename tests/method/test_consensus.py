from random import Random

from hypothesis import given
from hypothesis import strategies as st

from method.consensus import agreement


def test_a_group_scores_its_size_times_the_tests_it_agrees_on() -> None:
    # {a, b} pass tests 0 and 1: 2 x 2 = 4. {c} passes all three: 1 x 3 = 3. {d} passes one: 1.
    matrix = {"a": [True, True, False], "b": [True, True, False], "c": [True, True, True], "d": [False, False, True]}
    assert agreement(matrix) == {"a": 1.0, "b": 1.0, "c": 0.75, "d": 0.25}


def test_a_candidate_counts_as_often_as_it_was_given() -> None:
    assert agreement({"a": [True, False], "b": [True, True]}, {"a": 4}) == {"a": 1.0, "b": 0.5}


def test_nobody_wins_where_nothing_passes() -> None:
    assert agreement({"a": [False], "b": [False]}) == {"a": 0.0, "b": 0.0}
    assert agreement({"a": [], "b": []}) == {"a": 0.0, "b": 0.0}
    assert agreement({}) == {}


matrices = st.integers(0, 4).flatmap(
    lambda tests: st.dictionaries(
        st.sampled_from("abcdef"), st.lists(st.booleans(), min_size=tests, max_size=tests), min_size=1
    )
)


@given(matrices)
def test_scores_are_shares_of_the_best_and_equal_within_a_group(matrix: dict[str, list[bool]]) -> None:
    scores = agreement(matrix)
    assert all(0 <= score <= 1 for score in scores.values())
    assert max(scores.values()) in (0.0, 1.0)
    for one, row in matrix.items():
        for other, others in matrix.items():
            if row == others:
                assert scores[one] == scores[other]


@given(matrices, st.randoms())
def test_the_order_of_candidates_does_not_matter(matrix: dict[str, list[bool]], rng: Random) -> None:
    items = list(matrix.items())
    rng.shuffle(items)
    assert agreement(dict(items)) == agreement(matrix)
