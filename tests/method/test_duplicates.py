import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from method.duplicates import Duplicates, code_tokens, similarity, sketch
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

    def test_where_answers_stay_beside_each_other_a_later_one_may_be_a_near_duplicate(self) -> None:
        seen = Duplicates(0.8, [answer(LONG, round=1)], supersede=False)
        assert seen.near(answer(LONG + "\nx = 1", round=2)) is not None

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


class TestSketch:
    """Why 128 permutations are enough, and what a search may miss."""

    def test_the_minhash_estimate_is_within_its_error_bound(self) -> None:
        # An estimate from k permutations has the standard error sqrt(J (1 - J) / k); of 60 pairs none should be more
        # than four of them off (probability below 0.4 %, and the permutations are fixed).
        for pair in range(60):
            shared, own = 20 + pair, 5 + (7 * pair) % 40
            one, other = (_numbered(shared, own, side, pair) for side in "xy")
            exact = len(one & other) / len(one | other)
            bound = 4 * math.sqrt(exact * (1 - exact) / 128)
            assert abs(sketch(one).jaccard(sketch(other)) - exact) <= bound

    def test_equal_sets_have_equal_sketches_and_disjoint_ones_nothing_in_common(self) -> None:
        one, other = frozenset({"a", "b", "c"}), frozenset({"d", "e"})
        assert sketch(one).jaccard(sketch(one)) == 1.0
        assert sketch(one).jaccard(sketch(other)) == 0.0

    def test_what_is_just_alike_enough_is_found(self) -> None:
        # The search looks 0.15 below the threshold, so that a pair just above it is hardly ever missed.
        for seed in range(100):
            lines = [f"value_{seed}_{number} = {number} * {seed}" for number in range(20)]
            left, right = "\n".join(lines), "\n".join([*lines[:-1], f"other_{seed} = 1"])
            assert 0.8 <= similarity(left, right) < 0.95
            first = answer(left, task_id="a")
            assert Duplicates(0.8, [first]).near(answer(right, task_id="b")) == first.id


def _numbered(shared: int, own: int, side: str, pair: int) -> frozenset[str]:
    return frozenset([f"{pair} both {n}" for n in range(shared)] + [f"{pair} {side} {n}" for n in range(own)])


codes = st.text("ab =+1\n", max_size=20)


@given(codes, codes)
def test_similarity_is_symmetric_and_a_share(one: str, other: str) -> None:
    assert similarity(one, other) == similarity(other, one)
    assert 0 <= similarity(one, other) <= similarity(one, one) == 1
