from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from method.consensus import agreement, compare_choices
from protocols.records import TestOutcome


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


def row(marks: str, *actual: str) -> list[TestOutcome]:
    """One outcome for each mark; those that failed gave what `actual` names, in turn."""
    given = iter(actual)
    return [
        TestOutcome(passed=mark == "1", actual=None if mark == "1" else next(given, "none"), error_class=None)
        for mark in marks
    ]


class TestComparison:
    def test_three_ways_by_hand(self) -> None:
        # Two wrong candidates agree on their results and on no test: consensus passes them by, the majority does not.
        outcomes = {"a": row("11"), "b": row("00", "7", "8"), "c": row("00", "7", "8"), "d": row("10", "9")}
        choices = compare_choices(outcomes, {}, {"a"})
        assert (choices.groups, choices.decided) == (3, True)
        assert (choices.consensus, choices.random, choices.majority) == (1.0, 0.25, 0.0)

    def test_a_response_given_often_counts_as_often(self) -> None:
        # {a}: 3 x 1 = 3; {b}: 1 x 2 = 2.
        choices = compare_choices({"a": row("10", "5"), "b": row("11")}, {"a": 3}, {"b"})
        assert (choices.consensus, choices.random, choices.majority) == (0.0, 0.25, 0.0)

    def test_within_the_chosen_group_the_choice_is_by_chance(self) -> None:
        # The two agree on every written test, and one of them is wrong all the same.
        choices = compare_choices({"a": row("11"), "b": row("11"), "c": row("01", "x")}, {}, {"a"})
        assert choices.consensus == choices.majority == 0.5

    def test_those_that_fail_differently_are_no_majority(self) -> None:
        choices = compare_choices({"a": row("1"), "b": row("0", "1"), "c": row("0", "2")}, {"a": 2}, {"a"})
        assert choices.majority == 1.0

    @pytest.mark.parametrize("outcomes", [{"a": row(""), "b": row("")}, {"a": row("0", "1"), "b": row("0", "1")}])
    def test_where_nothing_passes_every_way_is_chance(self, outcomes: dict[str, list[TestOutcome]]) -> None:
        choices = compare_choices(outcomes, {"a": 3}, {"a"})
        assert not choices.decided
        assert choices.consensus == choices.majority == choices.random == 0.75

    def test_without_candidates_there_is_no_choice(self) -> None:
        with pytest.raises(ValueError, match="no candidates"):
            compare_choices({}, {}, set())

    @given(
        st.lists(st.tuples(st.text("01", min_size=3, max_size=3), st.booleans(), st.integers(1, 4)), min_size=1),
    )
    def test_each_is_a_probability_and_certain_where_all_are_right(self, drawn: list[tuple[str, bool, int]]) -> None:
        outcomes = {str(number): row(marks) for number, (marks, _, _) in enumerate(drawn)}
        counts = {str(number): count for number, (_, _, count) in enumerate(drawn)}
        right = {str(number) for number, (_, is_right, _) in enumerate(drawn) if is_right}
        for chosen, expected in ((right, None), (set(outcomes), 1.0), (set[str](), 0.0)):
            choices = compare_choices(outcomes, counts, chosen)
            for chance in (choices.consensus, choices.random, choices.majority):
                assert 0 <= chance <= 1
                assert expected is None or chance == expected
