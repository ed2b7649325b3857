import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from method.written_tests import read_tests
from protocols.records import AssertTest, StdioTest, Task

FUNCTION = Task(id="t", kind="function", instruction="Add.", entry_point="add")
PROGRAM = Task(id="p", kind="stdio", instruction="Read two numbers and print their sum.")


def asserts(*answers: str, limit: int = 99) -> list[str]:
    return [test.code for test in read_tests(FUNCTION, answers, limit).tests if isinstance(test, AssertTest)]


class TestAsserts:
    def test_those_of_a_code_block_are_taken_in_order(self) -> None:
        answer = "Here:\n```python\nassert add(1, 2) == 3\nassert add(0, 0) == 0\n```\nDone."
        assert asserts(answer) == ["assert add(1, 2) == 3", "assert add(0, 0) == 0"]

    def test_those_within_a_function_are_taken_without_it(self) -> None:
        assert asserts("def test():\n    assert add(1, 2) == 3\n    assert add(2, 2) == 4") == [
            "assert add(1, 2) == 3",
            "assert add(2, 2) == 4",
        ]

    def test_one_may_go_on_over_lines(self) -> None:
        assert asserts("assert add(\n    1,\n    2,\n) == 3\nassert add(1, 1) == 2") == [
            "assert add(\n1,\n2,\n) == 3",
            "assert add(1, 1) == 2",
        ]

    def test_what_a_cut_left_of_one_is_not_taken(self) -> None:
        read = read_tests(FUNCTION, ["assert add(1, 2) == 3\nassert add(4, "], 9)
        assert [getattr(test, "code", "") for test in read.tests] == ["assert add(1, 2) == 3"]
        assert read.unusable == 1

    @pytest.mark.parametrize(
        "line",
        ["assert True", "assert other(1) == 2", "assert obj.add(1, 2) == 3", "assert add", "assert (", "assert"],
    )
    def test_what_does_not_call_the_entry_point_is_no_test(self, line: str) -> None:
        assert read_tests(FUNCTION, [line], 9) == ((), 1)

    def test_prose_and_the_solution_are_no_tests(self) -> None:
        assert read_tests(FUNCTION, ["def add(a, b):\n    return a + b\n\nIt adds them."], 9) == ((), 0)

    def test_repeated_ones_count_once_and_no_more_than_wanted_are_taken(self) -> None:
        lines = "\n".join(f"assert add({number}, 0) == {number}" for number in (1, 2, 1, 3))
        assert len(asserts(lines)) == 3
        assert len(asserts(lines, lines)) == 3
        assert asserts(lines, limit=2) == ["assert add(1, 0) == 1", "assert add(2, 0) == 2"]

    def test_several_answers_add_up(self) -> None:
        assert len(asserts("assert add(1, 0) == 1", "assert add(2, 0) == 2")) == 2

    def test_an_absurdly_long_one_is_not_taken(self) -> None:
        assert read_tests(FUNCTION, [f"assert add({'1' * 3000}, 0)"], 9).tests == ()

    @given(st.text(max_size=200))
    def test_any_answer_can_be_read(self, text: str) -> None:
        for test in read_tests(FUNCTION, [text, f"assert {text}", f"assert add({text}) == 1"], 9).tests:
            assert isinstance(test, AssertTest)
            assert "add(" in test.code


class TestPairs:
    def pairs(self, *answers: str) -> list[tuple[str, str]]:
        read = read_tests(PROGRAM, answers, 9)
        return [(test.stdin, test.stdout) for test in read.tests if isinstance(test, StdioTest)]

    def test_those_of_the_agreed_form_are_taken(self) -> None:
        answer = json.dumps({"tests": [{"stdin": "1 2\n", "stdout": "3\n"}, {"stdin": "0 0\n", "stdout": "0\n"}]})
        assert self.pairs(answer) == [("1 2\n", "3\n"), ("0 0\n", "0\n")]

    def test_a_bare_list_will_do(self) -> None:
        assert self.pairs('[{"stdin": "1", "stdout": "1"}]') == [("1", "1")]

    def test_those_before_a_cut_are_taken(self) -> None:
        assert self.pairs('{"tests": [{"stdin": "1", "stdout": "1"}, {"stdin": "2", "std') == [("1", "1")]

    @pytest.mark.parametrize("item", ['{"stdin": "1"}', '{"stdin": 1, "stdout": "1"}', '{"a": {}}'])
    def test_what_is_no_pair_of_texts_is_not_taken(self, item: str) -> None:
        assert read_tests(PROGRAM, [f'{{"tests": [{item}]}}'], 9) == ((), 1)

    def test_half_a_character_is_refused_before_the_ledger_would_refuse_it(self) -> None:
        assert self.pairs('[{"stdin": "\\ud800", "stdout": "1"}, {"stdin": "2", "stdout": "2"}]') == [("2", "2")]

    @given(st.text(max_size=200))
    def test_any_answer_can_be_read(self, text: str) -> None:
        assert all(isinstance(test, StdioTest) for test in read_tests(PROGRAM, [text, f"[{{{text}"], 9).tests)
