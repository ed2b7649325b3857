from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import assume, event, given, settings
from hypothesis import strategies as st

from method.decision import decide, needed_candidates
from method.decision_rule import DecisionRule
from method.scoring import score
from protocols.records import Candidate, Decision, Execution, Incumbent
from tests.method.making import candidate, execution, incumbent, task

RULE = DecisionRule()


def needed(
    marks: Mapping[str, str],
    known: Incumbent | None = None,
    *,
    weight: float = 0.25,
    rule: DecisionRule = RULE,
    **options: Any,
) -> set[str]:
    ids = [id for id in marks if known is None or id != known.subject_id]
    candidates = [candidate(id, index=index) for index, id in enumerate(ids)]
    runs = {id: execution(id, m) for id, m in marks.items()}
    return set(needed_candidates(candidates, runs, known, weight, rule, **options))


class TestByHand:
    def test_judges_without_weight_are_never_asked(self) -> None:
        assert needed({"a": "11", "b": "11"}, weight=0.0) == set()

    def test_one_right_candidate_among_hopeless_ones_is_settled(self) -> None:
        # a: [0.75, 1]; b: [0, 0.25], below a's least score minus the margin.
        assert needed({"a": "1111", "b": "0000"}) == set()

    def test_of_two_right_ones_the_judges_choose(self) -> None:
        assert needed({"a": "11", "b": "11"}) == {"a", "b"}

    def test_one_whose_low_quality_is_open_is_asked_about(self) -> None:
        # a: [0.75, 1]; b: [0.5625, 0.8125].
        assert needed({"a": "1111", "b": "1110", "c": "0000"}) == {"a", "b"}

    def test_an_equal_of_the_incumbent_may_replace_it(self) -> None:
        assert needed({"reference": "11", "a": "11", "b": "00"}, incumbent()) == {"a"}

    def test_a_candidate_that_fails_what_the_incumbent_passes_can_at_most_be_critiqued(self) -> None:
        assert needed({"reference": "1111", "a": "0000"}, incumbent()) == set()
        assert needed({"reference": "1111", "a": "0111"}, incumbent()) == {"a"}

    def test_what_cannot_be_executed_is_never_asked_about(self) -> None:
        runs = {"reference": execution("reference", "11"), "a": execution("a", "00", error_class="import")}
        assert not needed_candidates([candidate("a")], runs, incumbent(), 0.5, RULE)

    def test_small_weight_settles_a_confirmation(self) -> None:
        # a and the incumbent both lie in [0.96, 1]: no margin can be crossed.
        assert needed({"reference": "11", "a": "11"}, incumbent(), weight=0.04) == set()

    def test_two_confirmations_compete_unless_the_task_was_kept_before(self) -> None:
        marks = {"reference": "11", "a": "11", "b": "11"}
        assert needed(marks, incumbent(), weight=0.04) == {"a", "b"}
        assert needed(marks, incumbent(), weight=0.04, incumbent_kept_before=True) == set()

    def test_beside_a_sure_critique_two_confirmations_still_compete(self) -> None:
        marks = {"reference": "11", "a": "11", "b": "11", "c": "00"}
        assert needed(marks, incumbent(), weight=0.04, rule=DecisionRule(keep="beside")) == {"a", "b"}

    def test_a_sure_critique_leaves_nothing_to_confirm(self) -> None:
        assert needed({"reference": "11", "a": "11", "b": "11", "c": "00"}, incumbent(), weight=0.04) == set()

    def test_no_candidates_no_questions(self) -> None:
        assert needed({"reference": "11"}, incumbent()) == set()


class Situation:
    """A task before judging, with what the judges would say of everybody if they were asked."""

    def __init__(self, draw: st.DrawFn) -> None:
        tests = draw(st.integers(1, 6))
        rows = st.one_of(st.text("01", min_size=tests, max_size=tests), st.sampled_from(["1" * tests, "broken"]))
        names = [f"c{index}" for index in range(draw(st.integers(0, 5)))]
        self.known = draw(st.sampled_from([None, incumbent(), incumbent("old", "self")]))
        self.runs: dict[str, Execution] = {}
        self.win_rates: dict[str, float] = {}
        self.shares: dict[str, float] = {}
        agreed = draw(st.booleans())
        for id in [*names, *([self.known.subject_id] if self.known else [])]:
            row = draw(rows)
            broken = row == "broken"
            self.runs[id] = execution(
                id,
                "0" * tests if broken else row,
                error_class="syntax" if broken else None,
                evidence="consensus" if agreed else "tests",
            )
            if agreed:
                self.shares[id] = 0.0 if broken else draw(st.sampled_from([0.0, 0.25, 0.5, 1.0]))
            self.win_rates[id] = draw(st.one_of(st.floats(0, 1), st.sampled_from([0.0, 0.5, 1.0])))
        self.candidates: list[Candidate] = [
            candidate(id, index=index, count=draw(st.integers(1, 3))) for index, id in enumerate(names)
        ]
        self.weight = draw(st.one_of(st.floats(0, 1), st.sampled_from([0.02, 0.1, 0.25, 0.5])))
        self.rule = DecisionRule(
            d_up=draw(st.sampled_from([0.0, 0.05, 0.3])),
            d_low=draw(st.sampled_from([0.0, 0.15, 0.5])),
            keep=draw(st.sampled_from(["alone", "beside"])),
        )
        self.kept_before = draw(st.booleans())

    def decide(self, asked: set[str]) -> Decision:
        scores = {
            id: score(
                id,
                run,
                self.win_rates[id] if id in asked else None,
                self.weight,
                execution_share=self.shares.get(id),
            )
            for id, run in self.runs.items()
        }
        return decide(
            task(),
            self.candidates,
            self.runs,
            scores,
            self.known,
            self.rule,
            incumbent_kept_before=self.kept_before,
            decision_id="d",
            round=1,
            version=0,
        )

    def needed(self) -> set[str]:
        return set(
            needed_candidates(
                self.candidates,
                self.runs,
                self.known,
                self.weight,
                self.rule,
                incumbent_kept_before=self.kept_before,
                shares=self.shares,
            )
        )


situations = st.composite(lambda draw: Situation(draw))()


def outcome(decision: Decision) -> tuple[object, ...]:
    return decision.kinds, decision.incumbent, decision.answer_id, decision.critique_ids


@settings(max_examples=300)
@given(situations)
def test_what_is_not_asked_cannot_change_the_decision(situation: Situation) -> None:
    needed = situation.needed()
    event(f"{len(needed)} of {len(situation.candidates)} needed")
    asked = needed | ({situation.known.subject_id} if needed and situation.known else set())
    assert outcome(situation.decide(asked)) == outcome(situation.decide(set(situation.runs)))


@settings(max_examples=60)
@given(situations, st.data())
def test_a_settled_task_is_decided_alike_whatever_any_judge_says(situation: Situation, data: st.DataObject) -> None:
    assume(not situation.needed())
    before = outcome(situation.decide(set()))
    for id in situation.runs:
        situation.win_rates[id] = data.draw(st.sampled_from([0.0, 0.3, 1.0]))
    assert outcome(situation.decide(set(situation.runs))) == before


@pytest.mark.parametrize("weight", [0.1, 0.3, 0.5])
def test_a_task_is_asked_about_where_two_opinions_decide_differently(weight: float) -> None:
    marks = {"reference": "1111", "a": "1111"}
    runs = {id: execution(id, m) for id, m in marks.items()}
    assert needed_candidates([candidate("a")], runs, incumbent(), weight, RULE)
