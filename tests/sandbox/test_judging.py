import json
import math
from collections import Counter, OrderedDict, defaultdict, deque
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.records import TestOutcome
from sandbox.decoding import BadResult, Iterated, Opaque, decode
from sandbox.inside.encoding import Encoder, ResultTooLarge
from sandbox.judging import call_form, judge


def encoded(value: Any) -> str:
    return Encoder(1 << 20).encode(value)


def round_trip(value: Any) -> object:
    return decode(json.loads(encoded(value)))


def judged(test: str, *results: Any) -> TestOutcome:
    form = call_form(test, "f")
    assert form is not None
    return judge(form, f'{{"results":[{",".join(encoded(result) for result in results)}]}}')


class TestWhichTestsBecomeCalls:
    @pytest.mark.parametrize(
        ("test", "calls"),
        [
            ("assert f(1, 2) == 3", ["f(1, 2)"]),
            ("assert f(1, 2) == 3, 'wrong sum'", ["f(1, 2)"]),
            ("assert 3 == f(1, key=2)", ["f(1, key=2)"]),
            ("assert f(1) is None", ["f(1)"]),
            ("assert f(1) is not True", ["f(1)"]),
            ("assert f(1) != 'x'", ["f(1)"]),
            ("assert f(1) in (1, 2)", ["f(1)"]),
            ("assert not f(1)", ["f(1)"]),
            ("assert f(1)", ["f(1)"]),
            ("assert abs(f(2) - 1.41) < 0.01", ["f(2)"]),
            ("assert math.isclose(f(2), 1.41, rel_tol=0.01)", ["f(2)"]),
            ("assert sorted(f([2, 1])) == [1, 2]", ["f([2, 1])"]),
            ("assert set(f('ab')) == {'a', 'b'}", ["f('ab')"]),
            ("assert len(f(3)) == 3", ["f(3)"]),
            ("assert list(map_like) == f(1)", None),
            ("assert f(2) == f(3)", ["f(2)", "f(3)"]),
            ("assert f(f(1)) == 1", ["f(f(1))"]),
            ("assert f(1)[0] == 5", ["f(1)[0]"]),
            ("assert f(3).name() == 'x'", ["f(3).name()"]),
            ("assert f(1) == 1 and f(2) == 2", ["f(1)", "f(2)"]),
            ("assert f(1) == 1\nassert f(2) == 2", ["f(1)", "f(2)"]),
            ("assert 1 < f(1) <= 3", ["f(1)"]),
            ("assert f([i for i in range(3)]) == -3", ["f([i for i in range(3)])"]),
            ("assert type(f(1)) is int", ["f(1)"]),
            ("assert isinstance(f(1), list)", ["f(1)"]),
            ("assert f(1) == [1] * 3", ["f(1)"]),
            ("assert f(1) == float('inf')", ["f(1)"]),
        ],
    )
    def test_simple_asserts_are_taken_apart(self, test: str, calls: list[str] | None):
        form = call_form(test, "f")
        assert (None if form is None else list(form.calls)) == calls

    @pytest.mark.parametrize(
        "test",
        [
            "x = f(1)\nassert x == 1",
            "check(f)",
            "assert all(f(i) == i for i in range(3))",
            "assert f(1) == helper(2)",
            "assert f(1) == EXPECTED",
            "assert f(1) is [1]",
            "assert f(1) or f(2)",
            "assert True",
            "assert g(1) == 1",
            "assert f(*x) == 1 if y else 2",
            "assert f(1) == len(**{'obj': []})",
            "assert type('X', (), {})() == f(1)",
            "assert '%d' .join(f(1)) == ''",
            "assert sum(f(1), []) == []",
            "assert f(1) ==",
            "",
            "assert f(1) == " + "(" * 500 + ")" * 500,
        ],
    )
    def test_the_rest_has_to_run_in_process(self, test: str):
        assert call_form(test, "f") is None

    def test_without_an_entry_point_any_name_that_is_no_built_in_is_the_candidates(self):
        form = call_form("assert sorted(g(1)) == [1]", None)
        assert form is not None
        assert form.calls == ("g(1)",)

    def test_without_an_entry_point_a_second_name_may_be_a_helper_of_the_tests(self):
        assert call_form("assert g(1) == expected(1)", None) is None
        assert call_form("assert Counter(g(1)) == Counter('ab')", None) is not None

    def test_an_entry_point_may_bear_the_name_of_a_built_in(self):
        form = call_form("assert sorted([2, 1]) == [1, 2]", "sorted")
        assert form is not None
        assert form.calls == ("sorted([2, 1])",)

    @given(
        st.integers(10_000, 10**9), st.sampled_from(["assert f(1) == {}", "assert {} in f(2)", "assert not f(3) > {}"])
    )
    def test_expected_values_never_go_in(self, secret: int, test: str):
        form = call_form(test.format(secret), "f")
        assert form is not None
        assert str(secret) not in "".join(form.calls)


class TestJudging:
    @pytest.mark.parametrize(
        ("test", "result", "right"),
        [
            ("assert f(1) == 3", 3, True),
            ("assert f(1) == 3", 4, False),
            ("assert f(1) == [1, (2, 'x')]", [1, (2, "x")], True),
            ("assert f(1) == [1, 2]", (1, 2), False),
            ("assert f(1) is True", 1, False),
            ("assert f(1) is None", None, True),
            ("assert f(1) != 2", 2, False),
            ("assert f(1) in (1, 2)", 2, True),
            ("assert not f(1)", [], True),
            ("assert f(1)", 0, False),
            ("assert abs(f(1) - 0.3) < 1e-9", 0.1 + 0.2, True),
            ("assert math.isclose(f(1), 0.3)", 0.1 + 0.2, True),
            ("assert f(1) == 0.3", 0.1 + 0.2, False),
            ("assert sorted(f(1)) == [1, 2]", {2, 1}, True),
            ("assert list(f(1)) == [1, 2]", iter([1, 2]), True),
            ("assert f(1) == [1, 2]", iter([1, 2]), False),
            ("assert sorted(f(1)) == ['a']", {"a": 1}.keys(), True),
            ("assert set(f(1)) == {1}", [1, 1], True),
            ("assert len(f(1)) == 2", "ab", True),
            ("assert f(1) == {'a': 2}", Counter("aa"), True),
            ("assert type(f(1)) is int", True, False),
            ("assert f(1) == 10**30", 10**30, True),
        ],
    )
    def test_a_result_is_right_exactly_when_the_assert_holds(self, test: str, result: Any, right: bool):
        assert judged(test, result).passed is right

    def test_a_wrong_answer_shows_both_values(self):
        outcome = judged("assert f(1) == [1, 2]", [2, 1])
        assert outcome.error_class == "wrong_answer"
        assert (outcome.expected, outcome.actual) == ("[1, 2]", "[2, 1]")
        assert "f(1) == [1, 2]" in outcome.message

    def test_a_wrong_answer_to_another_condition_shows_the_condition(self):
        outcome = judged("assert len(f(1)) < 2", "abc")
        assert (outcome.expected, outcome.actual) == ("len(f(1)) < 2", "'abc'")

    def test_long_values_are_clipped(self):
        outcome = judged("assert f(1) == 1", "x" * 10_000)
        assert outcome.actual is not None
        assert len(outcome.actual) == 200

    def test_values_that_cannot_be_compared_have_the_comparisons_class(self):
        assert judged("assert abs(f(1) - 2) < 1", "two").error_class == "type"

    def test_every_assert_of_a_test_must_hold(self):
        assert judged("assert f(1) == 1\nassert f(2) == 2", 1, 2).passed
        assert judged("assert f(1) == 1\nassert f(2) == 2", 1, 3).error_class == "wrong_answer"

    def test_an_equal_object_of_the_candidates_own_is_wrong(self):
        class Always:
            def __eq__(self, other: object) -> bool:
                return True

            def __hash__(self) -> int:
                return 0

        assert judged("assert f(1) == 3", Always()).error_class == "wrong_answer"

    @pytest.mark.parametrize("base", [int, str, list, dict, float, tuple])
    def test_an_instance_of_a_subclass_is_wrong(self, base: type):
        value = type("Sub", (base,), {"__eq__": lambda self, other: True, "__hash__": lambda self: 0})()
        assert not judged(f"assert f(1) == {base()!r}", value).passed

    @pytest.mark.parametrize(
        ("test", "result"),
        [
            ("assert f(1) * 10**9 == 1", "x" * 100),
            ("assert f(1) ** 10**9 == 1", 10**9),
            ("assert 2 ** f(1) == 1", Fraction(10**12)),
            ("assert round(f(1)) == 1", Decimal("1e999999999")),
            ("assert list(f(1)) == []", range(10**12)),
            ("assert bytes(f(1)) == b''", 10**12),
            ("assert len(range(f(1))) == 1", 10**12),
            ("assert set(f(1)) == set()", [(2**61 - 1) * i for i in range(20_000)]),
            ("assert sum(f(1)) == 1", [Fraction(1, 10**9 + i) for i in range(5_000)]),
            ("assert f(1) % 7 == 1", 1 << 3_000_000),
        ],
        ids=str.split("repetition power rational-power decimal range bytes length hashes fractions integer"),
    )
    def test_a_condition_cannot_be_made_to_cost_the_orchestrator_dear(self, test: str, result: Any):
        assert judged(test, result).passed is False


DEEP = "[" * 900 + "]" * 900
FIELDS = ("stage", "names", "text", "line", "errno", "frames")


class TestClaims:
    @pytest.mark.parametrize(
        "claim",
        [
            "",
            "null",
            "[]",
            "[" * 60_000 + "]" * 60_000,
            '{"results":[{"no such tag":1}]}',
            '{"results":[{"set":[[1]]}]}',
            '{"results":[{"dict":[1]}]}',
            '{"results":[{"int":[]}]}',
            '{"results":[{"complex":[]}]}',
            '{"results":[{"opaque":[1]}]}',
            '{"results":[{"tuple":1,"list":2}]}',
            '{"results":[{"float":"1e5"}]}',
            '{"results":[1' + "0" * 5000 + "]}",
            '{"results":{}}',
            '{"results":[{"Fraction":"1e999999999"}]}',
            '{"results":[{"range":[0,1' + "0" * 30 + ",1]}]}",
            '{"results":[]}',
            '{"results":[3]} {"results":[3]}',
            '{"error":7}',
            '{"error":{"names":7,"text":[],"line":"x"}}',
            *[f'{{"error":{{"{name}":{DEEP}}}}}' for name in FIELDS],
            '{"error":{"line":' + "9" * 4000 + "}}",
            '{"results":[{"set":[' + ",".join(map(str, range(30_000))) + "]}]}",
        ],
    )
    def test_garbage_is_a_failed_test_and_never_an_exception(self, claim: str):
        form = call_form("assert f(1) == 3", "f")
        assert form is not None
        assert judge(form, claim).passed is False

    @given(st.text(max_size=200))
    def test_any_text_at_all_is_judged(self, claim: str):
        form = call_form("assert f(1) == 3", "f")
        assert form is not None
        assert judge(form, claim).passed is False

    def test_a_claimed_exception_gives_class_text_and_line(self):
        form = call_form("assert f(1) == 3", "f")
        assert form is not None
        error = {"stage": "run", "names": ["KeyError", "LookupError"], "text": "'x'", "line": 4, "errno": None}
        outcome = judge(form, json.dumps({"results": [], "error": error}))
        assert outcome.error_class == "index_key"
        assert outcome.message == "KeyError: 'x' (line 4)"


_scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | st.complex_numbers(allow_nan=False)
    | st.fractions()
    | st.decimals(allow_nan=False)
)
_hashable = st.recursive(
    _scalars, lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=3), max_leaves=8
)
_values = st.recursive(
    _hashable,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(_hashable, inner, max_size=3)
        | st.sets(_hashable, max_size=3)
        | st.lists(inner, max_size=3).map(deque)
    ),
    max_leaves=12,
)


class TestEncoding:
    @given(_values)
    def test_data_comes_out_as_it_went_in_down_to_the_types(self, value: Any):
        back = round_trip(value)
        assert type(back) is type(value)
        assert back == value
        if not isinstance(value, set | frozenset | tuple | list | dict | deque):
            assert encoded(back) == encoded(value)

    @pytest.mark.parametrize(
        "value", [OrderedDict(a=1), defaultdict(int, a=1), range(3), Decimal("1.50"), Fraction(1, 3)]
    )
    def test_library_types_keep_their_type(self, value: Any):
        assert type(round_trip(value)) is type(value)
        assert round_trip(value) == value

    def test_special_floats_and_huge_integers_survive(self):
        assert math.isnan(round_trip(math.nan))  # type: ignore[arg-type]
        assert round_trip(-math.inf) == -math.inf
        assert round_trip(1 << 100_000) == 1 << 100_000

    def test_a_cycle_and_a_deep_nest_become_opaque(self):
        cycle: list[Any] = []
        cycle.append(cycle)
        nest: list[Any] = []
        for _ in range(500):
            nest = [nest]
        assert isinstance(round_trip(cycle)[0], Opaque)  # type: ignore[index]
        round_trip(nest)

    def test_an_endless_iterator_becomes_opaque(self):
        import itertools

        assert isinstance(round_trip(itertools.count()), Opaque)
        assert isinstance(round_trip(zip(itertools.count(), itertools.count(), strict=False)), Opaque)
        assert isinstance(round_trip(map(str, [1])), Iterated)

    def test_a_result_over_the_limit_is_refused(self):
        with pytest.raises(ResultTooLarge):
            Encoder(1000).encode([[0] * 100] * 100)

    def test_an_object_whose_representation_fails_is_still_opaque(self):
        class Hostile:
            def __repr__(self) -> str:
                raise RuntimeError

        assert isinstance(round_trip(Hostile()), Opaque)

    def test_chosen_hashes_cannot_keep_the_orchestrator_busy(self):
        with pytest.raises(BadResult):
            decode({"set": [(2**61 - 1) * i for i in range(30_000)]})
