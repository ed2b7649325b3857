import pytest
from hypothesis import given
from hypothesis import strategies as st

from method.duplicates import Duplicates, code_tokens, similarity
from method.examples import answer_example, critique_example
from protocols.records import Example
from tests.method.making import candidate, execution, task

LONG = """
def f(numbers):
    best = 0
    for left, right in zip(numbers, numbers[1:]):
        best = max(best, abs(left - right))
    return best
"""


def answer(code: str, task_id: str = "t", round: int = 1) -> Example:
    return answer_example(task(task_id), code, origin="self", round=round, version=0)


def critique(bad: str, *, text: str = "Wrong.", id: str = "c", code: str = LONG) -> Example:
    return critique_example(
        task(),
        candidate(id, code=bad),
        execution(id, "0"),
        text,
        code,
        origin="critic",
        pattern="p",
        round=1,
        version=0,
    )


def test_tokens_leave_comments_and_layout_out() -> None:
    assert code_tokens("x  =  1  # one\n\n") == ("x", "=", "1")


@pytest.mark.parametrize("broken", ["x = (", "'''", "  x\n y", "\0", "`$?"])
def test_what_is_no_python_has_tokens_too(broken: str) -> None:
    assert isinstance(code_tokens(broken), tuple)


def test_similarity_is_the_jaccard_similarity_of_runs_of_three_tokens() -> None:
    # a = b + c has the runs (a = b), (= b +), (b + c); a = b - c shares the first only: 1 of 5.
    assert similarity("a = b + c", "a = b - c") == pytest.approx(1 / 5)
    assert similarity("a = b", "a = b") == 1.0


def test_one_changed_operator_in_a_one_line_function_is_no_near_duplicate() -> None:
    assert similarity("def f(a, b):\n    return a + b", "def f(a, b):\n    return a - b") < 0.8


class TestSearch:
    def test_the_same_turns_are_an_exact_duplicate_in_any_round(self) -> None:
        seen = Duplicates(0.8, [answer(LONG, round=1)])
        assert seen.is_exact(answer(LONG, round=2))
        assert not seen.is_exact(answer("x = 1"))

    def test_another_tasks_almost_equal_answer_is_a_near_duplicate(self) -> None:
        first = answer(LONG, task_id="a")
        seen = Duplicates(0.8, [first])
        assert seen.near(answer(LONG + "    # the end", task_id="b")) == first.id
        assert seen.near(answer("def f(a):\n    return sorted(a)[::-1]", task_id="b")) is None

    def test_a_later_answer_to_the_same_task_takes_the_place_of_the_earlier(self) -> None:
        seen = Duplicates(0.8, [answer(LONG, round=1)])
        assert seen.near(answer(LONG + "\nx = 1", round=2)) is None
        assert seen.near(answer(LONG + "\nx = 1", round=1)) is not None

    def test_a_critique_is_no_duplicate_of_the_answer_that_it_ends_with(self) -> None:
        assert Duplicates(0.8, [answer(LONG)]).near(critique(LONG.replace("max", "min"))) is None

    def test_critiques_of_unlike_code_are_different_though_they_end_alike(self) -> None:
        bad = "import os\nclass A:\n    def g(self, *rest):\n        yield from os.walk(rest[-1])\n    h = {g: 3}"
        assert Duplicates(0.8, [critique("def f(): pass")]).near(critique(bad, id="d")) is None

    def test_critiques_of_the_same_code_in_other_words_are_near_duplicates(self) -> None:
        seen = Duplicates(0.8, [critique("def f(): pass")])
        assert seen.near(critique("def f(): pass", text="Empty.", id="d")) is not None

    def test_at_a_threshold_of_one_only_the_same_tokens_are_near(self) -> None:
        seen = Duplicates(1.0, [answer(LONG, task_id="a")])
        assert seen.near(answer(LONG + "# end", task_id="b")) is not None
        assert seen.near(answer(LONG + "x = 1", task_id="b")) is None

    def test_adding_twice_is_adding_once(self) -> None:
        seen = Duplicates(0.8, [answer(LONG), answer(LONG)])
        assert seen.near(answer(LONG, task_id="b")) == answer(LONG).id

    @given(
        st.lists(st.sampled_from(["x = 1", "y = x + 2", "print(x)", "for i in x: print(i)"]), min_size=1, max_size=6)
    )
    def test_equal_code_is_always_found(self, lines: list[str]) -> None:
        code = "\n".join(lines)
        first = answer(code, task_id="a")
        assert Duplicates(0.8, [first]).near(answer(code, task_id="b")) == first.id


codes = st.text("ab =+1\n", max_size=20)


@given(codes, codes)
def test_similarity_is_symmetric_and_a_share(one: str, other: str) -> None:
    assert similarity(one, other) == similarity(other, one)
    assert 0 <= similarity(one, other) <= similarity(one, one) == 1
