from collections.abc import Mapping

import pytest

from method.decision import decide, visible_incumbent
from method.decision_rule import DecisionRule
from method.scoring import score
from protocols.records import Candidate, Decision, Execution, Incumbent, Score
from tests.method.making import candidate, execution, incumbent, task

ANCHOR, TRAIN, HIDDEN = (DecisionRule(references=what) for what in ("anchor", "train", "hidden"))
BESIDE = DecisionRule(keep="beside")


def scored(marks: Mapping[str, str], win_rates: Mapping[str, float], weight: float) -> dict[str, Score]:
    return {id: score(id, execution(id, m), win_rates.get(id), weight) for id, m in marks.items()}


def decided(
    marks: Mapping[str, str],
    known: Incumbent | None = None,
    *,
    win_rates: Mapping[str, float] | None = None,
    weight: float = 0.5,
    rule: DecisionRule = ANCHOR,
    kept_before: bool = False,
    candidates: list[Candidate] | None = None,
    executions: Mapping[str, Execution] | None = None,
    scores: Mapping[str, Score] | None = None,
) -> Decision:
    """Decide on the subjects in `marks`; all but the incumbent are candidates, in that order."""
    ids = [id for id in marks if known is None or id != known.subject_id]
    return decide(
        task(),
        [candidate(id, index=index) for index, id in enumerate(ids)] if candidates is None else candidates,
        executions or {id: execution(id, m) for id, m in marks.items()},
        scores or scored(marks, win_rates or {}, weight),
        known,
        rule,
        incumbent_kept_before=kept_before,
        decision_id="d",
        round=1,
        version=0,
    )


class TestWithoutAnIncumbent:
    def test_a_candidate_that_passes_everything_is_adopted_and_is_the_answer(self) -> None:
        decision = decided({"a": "11"})
        assert decision.kinds == ("adopt",)
        assert decision.answer_id == "a"
        assert decision.incumbent == Incumbent(subject_id="a", origin="self", code=candidate("a").code or "")

    def test_the_losers_are_critiqued_against_the_adopted_one(self) -> None:
        decision = decided({"a": "10", "b": "11", "c": "00"})
        assert decision.kinds == ("adopt", "critique")
        assert (decision.answer_id, decision.critique_ids) == ("b", ("a", "c"))

    def test_nobody_who_fails_a_test_is_adopted(self) -> None:
        decision = decided({"a": "1110"})
        assert decision.kinds == ("critique",)
        assert decision.incumbent is None
        assert decision.critique_ids == ("a",)

    def test_a_wrong_favourite_of_the_judges_does_not_keep_a_right_one_from_being_adopted(self) -> None:
        decision = decided({"a": "1110", "b": "1111"}, win_rates={"a": 1.0, "b": 0.0})
        assert (decision.kinds, decision.answer_id) == (("adopt",), "b")

    def test_among_right_ones_the_judges_choose(self) -> None:
        decision = decided({"a": "11", "b": "11"}, win_rates={"a": 0.4, "b": 0.6})
        assert decision.answer_id == "b"

    def test_one_that_is_almost_right_is_not_of_low_quality(self) -> None:
        assert decided({"a": "1111111110"}).kinds == ("skip",)

    def test_the_winner_of_the_consensus_is_adopted_though_it_fails_some_of_the_guessed_tests(self) -> None:
        marks = {"a": "110", "b": "001"}
        runs = {id: execution(id, m, evidence="consensus") for id, m in marks.items()}
        scores = {
            "a": score("a", runs["a"], None, 0.0, execution_share=1.0),
            "b": score("b", runs["b"], None, 0.0, execution_share=0.2),
        }
        decision = decided(marks, executions=runs, scores=scores)
        assert (decision.kinds, decision.answer_id, decision.critique_ids) == (("adopt", "critique"), "a", ("b",))


class TestTies:
    def test_equals_are_told_apart_by_how_often_they_were_given(self) -> None:
        several = [candidate("a", index=0), candidate("b", index=1, count=3)]
        assert decided({"a": "11", "b": "11"}, candidates=several).answer_id == "b"

    def test_then_by_which_came_first(self) -> None:
        several = [candidate("a", index=4), candidate("b", index=1)]
        assert decided({"a": "11", "b": "11"}, candidates=several).answer_id == "b"


class TestReplacement:
    def test_a_candidate_that_scores_higher_by_more_than_the_margin_replaces_the_incumbent(self) -> None:
        decision = decided({"old": "10", "a": "11"}, incumbent("old", "self"))
        assert (decision.kinds, decision.answer_id) == (("replace",), "a")
        assert decision.incumbent is not None
        assert decision.incumbent.subject_id == "a"

    def test_the_margin_itself_is_not_enough(self) -> None:
        rates = {"reference": 0.5, "a": 0.6}
        assert decided({"reference": "11", "a": "11"}, incumbent(), win_rates=rates).kinds == ("keep",)
        assert decided({"reference": "11", "a": "11"}, incumbent(), win_rates=rates | {"a": 0.62}).kinds == ("replace",)

    def test_a_candidate_that_fails_a_test_never_replaces_one_that_passes_it(self) -> None:
        decision = decided({"old": "1100", "a": "0111"}, incumbent("old", "self"), win_rates={"old": 0.0, "a": 1.0})
        assert decision.kinds == ("skip",)
        assert decision.incumbent == incumbent("old", "self")

    def test_nor_is_it_preferred_to_another_candidate_that_passes_it(self) -> None:
        rates = {"old": 0.2, "a": 1.0, "b": 0.6}
        decision = decided({"old": "1000", "a": "1110", "b": "1111"}, incumbent("old", "self"), win_rates=rates)
        assert decision.answer_id == "b"

    def test_the_losers_are_critiqued_against_the_new_incumbent(self) -> None:
        # a: 0.6 is near enough to the old incumbent's 0.6, but far below the new one's 1.0.
        decision = decided({"old": "11100", "a": "11100", "b": "11111"}, incumbent("old", "self"))
        assert decision.kinds == ("replace", "critique")
        assert decision.critique_ids == ("a",)


class TestCritique:
    def test_low_quality_is_more_than_the_margin_below_the_incumbent(self) -> None:
        decision = decided({"reference": "1" * 20, "a": "1" * 17 + "000", "b": "1" * 16 + "0000"}, incumbent())
        assert (decision.kinds, decision.critique_ids) == (("critique",), ("b",))

    def test_what_cannot_be_executed_is_of_low_quality(self) -> None:
        runs = {"reference": execution("reference", "11"), "a": execution("a", "00", error_class="syntax")}
        scores = {id: score(id, run, 0.5, 0.5) for id, run in runs.items()}
        assert decided({"reference": "", "a": ""}, incumbent(), executions=runs, scores=scores).critique_ids == ("a",)

    def test_a_response_without_code_is_not_critiqued(self) -> None:
        words = [candidate("a", code=None)]
        assert decided({"reference": "11", "a": "00"}, incumbent(), candidates=words).kinds == ("skip",)


class TestKeep:
    def test_an_equal_candidate_confirms_the_incumbent_and_is_the_answer(self) -> None:
        decision = decided({"reference": "11", "a": "11"}, incumbent())
        assert (decision.kinds, decision.answer_id) == (("keep",), "a")
        assert decision.incumbent == incumbent()

    def test_beside_critiques_only_where_that_is_asked_for(self) -> None:
        marks = {"reference": "11", "a": "11", "b": "00"}
        assert decided(marks, incumbent()).kinds == ("critique",)
        decision = decided(marks, incumbent(), rule=BESIDE)
        assert decision.kinds == ("critique", "keep")
        assert (decision.answer_id, decision.critique_ids) == ("a", ("b",))
        assert decision.incumbent == incumbent()

    def test_beside_critiques_too_only_what_does_as_well_as_the_incumbent(self) -> None:
        assert decided({"reference": "11", "a": "10", "b": "00"}, incumbent(), rule=BESIDE).kinds == ("critique",)

    def test_only_once_per_task(self) -> None:
        decision = decided({"reference": "11", "a": "11"}, incumbent(), kept_before=True)
        assert (decision.kinds, decision.answer_id) == (("skip",), None)

    def test_not_beside_a_critique(self) -> None:
        decision = decided({"reference": "11", "a": "11", "b": "00"}, incumbent())
        assert (decision.kinds, decision.answer_id) == (("critique",), None)

    def test_of_several_equals_the_best_is_the_answer(self) -> None:
        rates = {"reference": 0.5, "a": 0.45, "b": 0.55}
        assert decided({"reference": "11", "a": "11", "b": "11"}, incumbent(), win_rates=rates).answer_id == "b"

    def test_one_that_fails_a_test_confirms_nothing(self) -> None:
        assert decided({"reference": "1" * 10, "a": "1" * 9 + "0"}, incumbent()).kinds == ("skip",)


class TestReferences:
    def test_a_hidden_reference_is_no_incumbent(self) -> None:
        decision = decided({"reference": "11", "a": "11"}, incumbent(), rule=HIDDEN)
        assert decision.kinds == ("adopt",)
        assert [one.subject_id for one in decision.scores] == ["a"]

    def test_what_the_policy_made_is_never_hidden(self) -> None:
        assert visible_incumbent(incumbent("a", "self"), HIDDEN) == incumbent("a", "self")

    def test_to_train_on_references_makes_the_reference_the_answer_while_it_is_the_incumbent(self) -> None:
        decision = decided({"reference": "11", "a": "00"}, incumbent(), rule=TRAIN)
        assert (decision.kinds, decision.answer_id) == (("critique",), "reference")

    def test_the_policys_own_equal_answer_comes_before_the_reference(self) -> None:
        assert decided({"reference": "11", "a": "11"}, incumbent(), rule=TRAIN).answer_id == "a"

    @pytest.mark.parametrize("rule", [ANCHOR, HIDDEN], ids=lambda rule: rule.references)
    def test_otherwise_the_reference_is_never_an_answer(self, rule: DecisionRule) -> None:
        assert decided({"reference": "11", "a": "00"}, incumbent(), rule=rule).answer_id is None


class TestSubjects:
    def test_candidates_without_execution_or_score_take_no_part(self) -> None:
        several = [candidate("a"), candidate("lost", index=1)]
        decision = decided({"a": "00"}, candidates=several)
        assert decision.critique_ids == ("a",)

    def test_nothing_at_all_is_skipped(self) -> None:
        assert decided({}, candidates=[]).kinds == ("skip",)

    def test_the_incumbent_must_have_been_executed(self) -> None:
        with pytest.raises(KeyError):
            decided({"a": "11"}, incumbent())

    def test_all_scores_go_into_the_record(self) -> None:
        decision = decided({"reference": "11", "a": "11", "b": "00"}, incumbent())
        assert [one.subject_id for one in decision.scores] == ["a", "b", "reference"]
