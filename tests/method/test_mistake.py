"""What kind of mistake a failed test shows."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from method.mistake import difference, mistake
from protocols.records import TestOutcome


def failed(error_class: str = "wrong_answer", expected: Any = None, actual: Any = None) -> TestOutcome:
    return TestOutcome(
        passed=False,
        error_class=error_class,  # pyright: ignore[reportArgumentType]
        expected=expected,
        actual=actual,
    )


@pytest.mark.parametrize(
    ("expected", "actual", "words"),
    [
        (3, None, "nothing returned"),
        (True, False, "the opposite truth value"),
        (True, 1, "an int instead of a bool"),
        (3, [], "a list instead of an int"),
        ((1, 2), [1, 2], "a list instead of a tuple"),
        (None, 0, "an int instead of nothing"),
        (5, 6, "off by one"),
        (5, -5, "the wrong sign"),
        (24, 20, "another number"),
        (4, 0, "zero instead of another number"),
        (3.14159, 3.14, "rounding"),
        (0.5, 0.25, "another number"),
        ("a b", "ab", "white space"),
        ("Ann", "ann", "upper and lower case"),
        ("abc", "cba", "a text in reverse"),
        ("abc", "bac", "a text in another order"),
        ("Hello", "Name: Hello", "a text with too much in it"),
        ("Hello", "Hell", "a part of the text"),
        ("abc", "", "an empty text"),
        ("", "abab", "another text"),
        ([1, 2, 3], [1, 2], "off by one at the end of a list"),
        ([1, 2], [1, 2, 3], "off by one at the end of a list"),
        ([1, 2, 3], [2, 3], "off by one at the start of a list"),
        ([3, 1, 2], [1, 2, 3], "a list in another order"),
        ([1, 2, 3, 4], [1, 3], "a list with elements missing"),
        ([1, 3], [1, 2, 3, 4], "a list with elements too many"),
        (["a", "a"], ["aa", "a"], "a list with wrong elements"),
        ([1, 2], [7, 8, 9], "another list"),
        ((1, 2), (), "an empty tuple"),
        ({1: 2}, {1: 3}, "a dict with wrong values"),
        ({1: 2, 2: 3}, {1: 2}, "a dict with elements missing"),
        ({1, 2}, {1, 2, 3}, "a set with elements too many"),
        ({1: 2}, {}, "an empty dict"),
    ],
)
def test_a_wrong_value_is_told_by_how_it_differs(expected: Any, actual: Any, words: str) -> None:
    assert difference(expected, actual) == words
    assert mistake([failed(expected=repr(expected), actual=repr(actual))]) == f"wrong_answer: {words}"


def test_the_first_failure_counts() -> None:
    outcomes = [TestOutcome(passed=True), failed("type"), failed(expected="1", actual="2")]
    assert mistake(outcomes) == "type"


def test_what_passed_is_no_mistake() -> None:
    assert mistake([TestOutcome(passed=True)]) is None
    assert mistake([]) is None


@pytest.mark.parametrize("shown", [None, "[1, 2, 3…", "<object at 0x1>", "f(3)", "(" * 500])
def test_values_that_cannot_be_read_leave_the_class(shown: str | None) -> None:
    assert mistake([failed(expected="1", actual=shown)]) == "wrong_answer"


literals = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=6,
)


@given(literals, literals)
def test_any_two_values_have_words(expected: Any, actual: Any) -> None:
    assert difference(expected, actual)
