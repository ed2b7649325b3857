from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from method.error_pattern import error_pattern
from protocols.records import ErrorClass
from tests.method.making import execution


@pytest.mark.parametrize(
    ("marks", "error_class", "pattern"),
    [
        ("1010", None, "wrong_answer@1,3"),
        ("100011", None, "wrong_answer@1-3"),
        ("0110001", "timeout", "timeout@0,3-5"),
        ("000", "syntax", "syntax@0-2"),
        ("00", "name", "name@0-1"),
        ("111", None, "solved"),
        ("", "import", "import"),
    ],
)
def test_a_pattern_is_the_class_and_the_failing_tests(marks: str, error_class: ErrorClass | None, pattern: str) -> None:
    assert error_pattern(execution("c", marks, error_class=error_class)) == pattern


@given(st.text("01", max_size=12), st.text("01", max_size=12), st.sampled_from(get_args(ErrorClass)))
def test_patterns_are_equal_when_class_and_failing_tests_are(one: str, other: str, error_class: ErrorClass) -> None:
    def failing(marks: str) -> list[int]:
        return [index for index, mark in enumerate(marks) if mark == "0"]

    same = error_pattern(execution("c", one, error_class=error_class)) == error_pattern(
        execution("d", other, error_class=error_class)
    )
    assert same == (failing(one) == failing(other))
