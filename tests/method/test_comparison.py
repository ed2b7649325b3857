import json
from collections import Counter
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from method.comparison import (
    Opinion,
    Pair,
    Schedule,
    fold,
    most_pairs,
    parse_verdict,
    schedule_pairs,
    swiss_round,
    swiss_rounds,
)
from protocols.prompts import PERSPECTIVES, judge_schema
from protocols.records import Choice
from tests.method.making import verdict

STANDINGS = {"a": 0.2, "b": 1.0, "c": 0.6, "d": 0.6}


def pairs(schedule: Schedule, incumbent_id: str | None, max_pairs: int = 99) -> list[tuple[str, str]]:
    scheduled = schedule_pairs(schedule, ["a", "b", "c", "d"], incumbent_id, max_pairs, STANDINGS)
    return [(pair.left_id, pair.right_id) for pair in scheduled]


class TestSchedule:
    def test_anchor_puts_each_against_the_incumbent_the_best_first(self) -> None:
        assert pairs("anchor", "i") == [("b", "i"), ("c", "i"), ("d", "i"), ("a", "i")]

    def test_anchor_without_an_incumbent_puts_each_against_the_best(self) -> None:
        assert pairs("anchor", None) == [("c", "b"), ("d", "b"), ("a", "b")]

    def test_round_robin_has_every_pair_once(self) -> None:
        assert {frozenset(pair) for pair in pairs("round_robin", None)} == {
            frozenset(pair) for pair in ("ab", "ac", "ad", "bc", "bd", "cd")
        }

    def test_round_robin_includes_the_incumbent(self) -> None:
        assert len(pairs("round_robin", "i")) == 10

    def test_swiss_begins_with_neighbours_by_standing(self) -> None:
        assert pairs("swiss", None) == [("b", "c"), ("d", "a")]

    def test_swiss_places_the_incumbent_by_its_standing(self) -> None:
        scheduled = schedule_pairs("swiss", ["a", "b"], "i", 9, {"a": 0.1, "b": 0.9, "i": 0.5})
        assert scheduled == (Pair("b", "i"),)

    @pytest.mark.parametrize("schedule", ["anchor", "round_robin", "swiss"])
    def test_the_most_telling_pairs_survive_the_limit(self, schedule: Schedule) -> None:
        assert pairs(schedule, "i", 2) == pairs(schedule, "i")[:2]
        assert pairs(schedule, "i", 0) == []

    @pytest.mark.parametrize("schedule", ["anchor", "round_robin", "swiss"])
    def test_one_alone_is_compared_with_nobody(self, schedule: Schedule) -> None:
        assert schedule_pairs(schedule, ["a"], None, 9) == ()
        assert schedule_pairs(schedule, [], "i", 9) == ()

    @given(
        st.sampled_from(["anchor", "round_robin", "swiss"]),
        st.lists(st.sampled_from("abcdef")),
        st.one_of(st.none(), st.sampled_from("abi")),
        st.integers(0, 8),
        st.dictionaries(st.sampled_from("abcdefi"), st.floats(0, 1)),
    )
    def test_no_pair_repeats_and_nobody_meets_itself(
        self, schedule: Schedule, ids: list[str], incumbent: str | None, limit: int, standings: dict[str, float]
    ) -> None:
        scheduled = schedule_pairs(schedule, ids, incumbent, limit, standings)
        met = [frozenset((pair.left_id, pair.right_id)) for pair in scheduled]
        assert len(met) <= limit
        assert len(set(met)) == len(met)
        assert all(len(pair) == 2 and pair <= {*ids, incumbent} for pair in met)

    @given(
        st.sampled_from(["anchor", "round_robin"]),
        st.sets(st.sampled_from("abcdef"), min_size=2),
        st.booleans(),
    )
    def test_without_a_limit_everybody_is_compared(self, schedule: Schedule, ids: set[str], with_one: bool) -> None:
        scheduled = schedule_pairs(schedule, sorted(ids), "i" if with_one else None, 99)
        assert {id for pair in scheduled for id in (pair.left_id, pair.right_id)} == ids | (
            {"i"} if with_one else set()
        )


def result(left: str, right: str, choice: Choice = "left") -> Opinion:
    return Opinion(left, right, choice, {})


class TestSwiss:
    def test_winners_meet_winners(self) -> None:
        first = [result("b", "c"), result("d", "a", "right")]
        assert swiss_round("abcd", first, STANDINGS) == (Pair("b", "a"), Pair("c", "d"))

    def test_nobody_meets_anybody_twice(self) -> None:
        before = [result("a", "b", "tie"), result("c", "d", "tie")]
        assert swiss_round("abcd", before, {}) == (Pair("a", "c"), Pair("b", "d"))
        assert swiss_round("ab", [result("a", "b")], {}) == ()

    def test_an_odd_one_out_waits(self) -> None:
        assert swiss_round("abc", (), {"a": 0.1, "b": 0.5, "c": 0.9}) == (Pair("c", "b"),)

    def test_an_abstention_gives_both_half_a_point(self) -> None:
        # a has 1/2, as c and d have; b has the win of before.
        before = [result("a", "c", "abstain"), result("b", "d")]
        assert swiss_round("abcd", before, {"a": 1.0}) == (Pair("b", "a"), Pair("c", "d"))

    @pytest.mark.parametrize(("players", "rounds"), [(0, 0), (1, 0), (2, 1), (3, 2), (4, 2), (5, 3), (8, 3), (9, 4)])
    def test_there_are_as_many_rounds_as_a_knock_out_needs(self, players: int, rounds: int) -> None:
        assert swiss_rounds(players) == rounds

    @pytest.mark.parametrize("players", [3, 5, 6, 7, 9])
    def test_everybody_plays(self, players: int) -> None:
        field = [str(number) for number in range(players)]
        opinions: list[Opinion] = []
        for _ in range(swiss_rounds(players)):
            opinions += [result(pair.left_id, pair.right_id) for pair in swiss_round(field, opinions, {})]
        assert {id for one in opinions for id in (one.left_id, one.right_id)} == set(field)

    @pytest.mark.parametrize("players", [2, 4, 8, 16])
    def test_the_best_of_all_wins_the_tournament(self, players: int) -> None:
        field = "abcdefghijklmnop"[:players]
        opinions: list[Opinion] = []
        for _ in range(swiss_rounds(players)):
            pairs = swiss_round(field, opinions, {})
            opinions += [result(p.left_id, p.right_id, "left" if p.left_id > p.right_id else "right") for p in pairs]
        won = Counter(o.left_id if o.choice == "left" else o.right_id for o in opinions)
        assert max(field, key=lambda player: won[player]) == field[-1]
        assert len(opinions) <= most_pairs("swiss", players, incumbent=False, max_pairs=99)


class TestMostPairs:
    @pytest.mark.parametrize("schedule", ["anchor", "round_robin"])
    @pytest.mark.parametrize("incumbent", [None, "i"])
    @pytest.mark.parametrize("ids", ["", "a", "ab", "abcde"])
    @pytest.mark.parametrize("limit", [2, 99])
    def test_it_is_the_length_of_the_schedule(
        self, schedule: Schedule, incumbent: str | None, ids: str, limit: int
    ) -> None:
        scheduled = schedule_pairs(schedule, list(ids), incumbent, limit)
        assert most_pairs(schedule, len(ids), incumbent=incumbent is not None, max_pairs=limit) == len(scheduled)

    def test_of_a_tournament_it_is_rounds_times_tables(self) -> None:
        assert most_pairs("swiss", 4, incumbent=True, max_pairs=99) == 3 * 2


class TestFold:
    @pytest.mark.parametrize(
        ("forward", "backward", "choice", "position"),
        [
            ("left", "right", "left", None),
            ("right", "left", "right", None),
            ("tie", "tie", "tie", None),
            ("left", "left", "tie", "first"),
            ("right", "right", "tie", "second"),
            ("left", "tie", "tie", None),
            ("tie", "left", "tie", None),
            ("abstain", "right", "abstain", None),
            ("left", "abstain", "abstain", None),
            ("abstain", "abstain", "abstain", None),
        ],
    )
    def test_both_orders_make_one_opinion(self, forward: str, backward: str, choice: str, position: str | None) -> None:
        opinion = fold(verdict("x", "y", forward), verdict("y", "x", backward))
        assert (opinion.left_id, opinion.right_id, opinion.judge) == ("x", "y", "j")
        assert (opinion.choice, opinion.position) == (choice, position)

    def test_perspectives_fold_each_by_itself(self) -> None:
        opinion = fold(
            verdict("x", "y", "left", correctness="left", efficiency="left", readability="tie"),
            verdict("y", "x", "right", correctness="right", efficiency="left", robustness="left"),
        )
        assert opinion.perspectives == {
            "correctness": "left",
            "efficiency": "tie",
            "readability": "abstain",
            "robustness": "abstain",
        }

    @pytest.mark.parametrize(
        "other", [verdict("x", "y", "left"), verdict("y", "z", "left"), verdict("y", "x", "left", judge="k")]
    )
    def test_verdicts_that_do_not_belong_together_are_refused(self, other: object) -> None:
        with pytest.raises(ValueError, match="not the two orders"):
            fold(verdict("x", "y", "left"), other)  # pyright: ignore[reportArgumentType]

    @given(st.sampled_from(get_args(Choice)), st.sampled_from(get_args(Choice)))
    def test_the_opinion_is_the_same_seen_from_either_side(self, one: str, other: str) -> None:
        swapped = {"left": "right", "right": "left"}
        forward = fold(verdict("x", "y", one), verdict("y", "x", other))
        backward = fold(verdict("y", "x", other), verdict("x", "y", one))
        assert backward.choice == swapped.get(forward.choice, forward.choice)
        assert backward.position == forward.position


class TestParsing:
    def answer(self, **changes: object) -> str:
        return json.dumps(dict.fromkeys([*PERSPECTIVES, "verdict"], "A") | changes)

    def test_letters_become_sides(self) -> None:
        parsed = parse_verdict(self.answer(verdict="B", efficiency="tie"))
        assert parsed == (
            "right",
            {"correctness": "left", "efficiency": "tie", "robustness": "left", "readability": "left"},
        )

    def test_every_answer_that_follows_the_schema_can_be_read(self) -> None:
        for letter in judge_schema()["properties"]["verdict"]["enum"]:
            parsed = parse_verdict(json.dumps(dict.fromkeys(judge_schema()["required"], letter)))
            assert parsed is not None
            assert {parsed[0], *parsed[1].values()} == {{"A": "left", "B": "right", "tie": "tie"}[letter]}

    def test_a_fence_around_the_json_does_no_harm(self) -> None:
        assert parse_verdict(f"```json\n{self.answer()}\n```") is not None

    def test_a_perspective_that_cannot_be_read_is_an_abstention(self) -> None:
        parsed = parse_verdict('{"verdict": "tie", "correctness": "C", "efficiency": 3}')
        assert parsed == ("tie", dict.fromkeys(PERSPECTIVES, "abstain"))

    @pytest.mark.parametrize(
        "answer",
        [
            "",
            "A",
            '"A"',
            "[]",
            "null",
            "{}",
            '{"verdict": "C"}',
            '{"verdict": null}',
            '{"verdict": ["A"]}',
            '{"verdict": "A"',
            "[" * 9999,
        ],
    )
    def test_what_cannot_be_read_is_nothing(self, answer: str) -> None:
        assert parse_verdict(answer) is None

    def test_two_verdicts_in_one_answer_are_unreadable(self) -> None:
        assert parse_verdict('{"verdict": "A", "verdict": "B"}') is None

    @given(st.text('{}[]":, verdictABtie`\\0', max_size=60))
    def test_no_text_makes_it_raise(self, answer: str) -> None:
        parse_verdict(answer)


def test_an_opinion_is_a_plain_value() -> None:
    assert Opinion("a", "b", "left", {}) == Opinion("a", "b", "left", {})
