import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from method.rubric import Rating, implied_opinions, parse_rubric, rubric_rates
from protocols.prompts import PERSPECTIVES, rubric_schema


def marks(correctness: int, others: int = 3) -> dict[str, int]:
    return dict.fromkeys(PERSPECTIVES, others) | {"correctness": correctness}


def rating(subject: str, given: dict[str, int] | None, judge: str = "j") -> Rating:
    return Rating(subject, judge, given)


class TestReading:
    def test_a_rubric_has_a_mark_for_every_perspective(self) -> None:
        assert parse_rubric(json.dumps(marks(5))) == marks(5)
        assert parse_rubric(f"```json\n{json.dumps(marks(1))}\n```") == marks(1)

    @pytest.mark.parametrize(
        "answer",
        [
            "4 of 5",
            "[1, 2, 3, 4]",
            json.dumps({"correctness": 5}),
            json.dumps(marks(0)),
            json.dumps(marks(6)),
            json.dumps({**marks(3), "efficiency": 3.5}),
            json.dumps({**marks(3), "efficiency": "3"}),
            json.dumps({**marks(3), "efficiency": True}),
            '{"correctness": 5, ' + json.dumps(marks(1))[1:],
        ],
    )
    def test_anything_else_is_unreadable_and_never_a_score(self, answer: str) -> None:
        assert parse_rubric(answer) is None

    def test_the_schema_asks_for_just_that(self) -> None:
        schema = rubric_schema()
        assert set(schema["required"]) == set(schema["properties"]) == set(PERSPECTIVES)

    @given(st.text(max_size=60))
    def test_no_answer_breaks_it(self, answer: str) -> None:
        assert parse_rubric(answer) is None or answer


class TestRates:
    def test_the_lowest_mark_is_0_and_the_highest_1(self) -> None:
        given = [(rating("a", marks(1, 1)), 1.0), (rating("b", marks(5, 5)), 1.0), (rating("c", marks(3)), 1.0)]
        assert rubric_rates("abc", given) == {"a": 0.0, "b": 1.0, "c": 0.5}

    def test_judges_count_by_their_weight(self) -> None:
        given = [(rating("a", marks(5, 5), "good"), 3.0), (rating("a", marks(1, 1), "coin"), 1.0)]
        assert rubric_rates("a", given) == {"a": 0.75}

    def test_an_abstention_or_a_judge_without_weight_says_nothing(self) -> None:
        given = [(rating("a", None), 2.0), (rating("b", marks(5, 5)), 0.0)]
        assert rubric_rates("abc", given) == {"a": 0.5, "b": 0.5, "c": 0.5}


class TestImpliedOpinions:
    def test_a_higher_mark_is_an_opinion_on_each_pair(self) -> None:
        first, second, third = implied_opinions([rating("a", marks(5)), rating("b", marks(2)), rating("c", marks(5))])
        assert (first.left_id, first.right_id, first.choice) == ("a", "b", "left")
        assert (second.left_id, second.right_id, second.choice) == ("a", "c", "tie")
        assert (third.left_id, third.right_id, third.choice) == ("b", "c", "right")
        assert first.perspectives == {**dict.fromkeys(PERSPECTIVES, "tie"), "correctness": "left"}

    def test_with_an_abstention_there_is_none(self) -> None:
        (opinion,) = implied_opinions([rating("a", marks(5)), rating("b", None)])
        assert (opinion.choice, opinion.perspectives) == ("abstain", {})

    def test_one_alone_implies_nothing(self) -> None:
        assert implied_opinions([rating("a", marks(5))]) == ()
