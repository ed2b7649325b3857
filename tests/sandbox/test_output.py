"""When a program's output is the wanted one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.records import OutputComparison, StdioTest
from sandbox.output import first_difference, same_output


def same(expected: str, actual: str, comparison: OutputComparison, tolerance: float = 1e-6) -> bool:
    return same_output(StdioTest(stdin="", stdout=expected, comparison=comparison, tolerance=tolerance), actual)


class TestLines:
    @pytest.mark.parametrize(
        ("expected", "actual", "equal"),
        [
            ("a\nb\n", "a\nb", True),
            ("a \nb", "a\nb\n\n\n", True),
            ("a\nb", "a\r\nb\r\n", True),
            ("a\nb", "a\n\nb", False),
            ("a", " a", False),
            ("", "\n", True),
            ("1", "1.0", False),
        ],
    )
    def test_white_space_at_ends_does_not_matter(self, expected: str, actual: str, equal: bool):
        assert same(expected, actual, "lines") is equal

    @given(st.text())
    def test_any_output_equals_itself_with_trailing_newlines(self, text: str):
        assert same(text, text + "\n\n", "lines")


class TestExact:
    @pytest.mark.parametrize(
        ("actual", "equal"), [("a b\n", True), ("a b", False), ("a b \n", False), ("a b\r\n", False)]
    )
    def test_every_character_matters(self, actual: str, equal: bool):
        assert same("a b\n", actual, "exact") is equal


class TestTokens:
    @pytest.mark.parametrize(
        ("actual", "equal"),
        [
            ("1 2\n3", True),
            ("  1\n2\t3\n\n", True),
            ("1 2 3 4", False),
            ("1 2", False),
            ("12 3", False),
            ("1 2 3.0", False),
        ],
    )
    def test_white_space_does_not_matter_and_all_else_does(self, actual: str, equal: bool):
        assert same("1 2\n3\n", actual, "tokens") is equal


class TestFloats:
    @pytest.mark.parametrize(
        ("expected", "actual", "equal"),
        [
            ("0.333333", "0.3333333", True),
            ("0.333333", "0.34", False),
            ("x 1.50", "x\n1.5", True),
            ("x 1.5", "y 1.5", False),
            ("1e9", "1000000000.5", True),
            ("1e9", "1000002000", False),
            ("2", "2.0", True),
            ("100000000000000000001", "100000000000000000002", False),
            ("007", "7", True),
            ("1", "nan", False),
            ("nan", "nan", True),
            ("inf", "1e999", False),
            ("1e999", "2e999", False),
            ("1", "1_0", False),
            ("10", "1_0", False),
            ("3", "٣", False),
            ("1", "1e99999999999", False),
            ("", "", True),
            ("1", "", False),
        ],
    )
    def test_numbers_may_differ_by_the_tolerance_and_words_may_not(self, expected: str, actual: str, equal: bool):
        assert same(expected, actual, "floats") is equal

    def test_without_a_tolerance_equal_numbers_may_only_be_written_differently(self):
        assert same("0.10", "1e-1", "floats", tolerance=0.0)
        assert not same("0.1", "0.1000000000000000000001", "floats", tolerance=0.0)

    def test_very_long_numbers_are_compared_as_text(self):
        assert same("1" * 100_000, "1" * 100_000, "floats")
        assert not same("1" * 100_000, "0" + "1" * 100_000, "floats")

    @given(st.text(), st.text())
    def test_any_two_outputs_can_be_compared(self, expected: str, actual: str):
        assert same(expected, expected, "floats")
        assert same(expected, actual, "floats") in (True, False)


@pytest.mark.parametrize(("actual", "line"), [("a\nx", 2), ("a", 2), ("a\nb\nc", 3), ("x\nb", 1)])
def test_the_first_differing_line_is_found(actual: str, line: int):
    assert first_difference("a\nb\n", actual) == line
