import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evals.evaluation import make_evaluation
from evals.gate import GateVerdict, gate
from protocols.records import Evaluation, TaskResult


def answered(correct: list[int], *, version: int = 0, samples: int = 4) -> Evaluation:
    return make_evaluation(
        purpose="gate",
        version=version,
        round=1,
        results=[TaskResult(task_id=f"t{n}", samples=samples, correct=count) for n, count in enumerate(correct)],
        executable_share=1.0,
        prompt_tokens=0,
        completion_tokens=0,
        seconds=0.0,
        ks=(1,),
        seed=0,
    )


def decide(
    old: list[int], new: list[int], *, first: list[int] | None = None, tolerance: float = 0.05, samples: int = 4
) -> GateVerdict:
    begun, before, after = (
        answered(counts, version=version, samples=samples) for version, counts in enumerate((first or old, old, new))
    )
    return gate(begun, before, after, tolerance=tolerance, confidence=0.95, seed=0)


counts = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=20)


def test_an_equal_version_is_promoted() -> None:
    assert decide([2] * 30, [2] * 30).promote


def test_a_better_version_is_promoted() -> None:
    assert decide([1] * 30, [3] * 30).promote


def test_an_unsure_fall_within_the_tolerance_is_promoted() -> None:
    verdict = decide([2] * 30, [1] * 15 + [3] * 11 + [2] * 4)
    assert -0.05 < verdict.difference < 0 < verdict.high
    assert verdict.promote


def test_a_fall_beyond_the_tolerance_is_refused_though_it_could_be_chance() -> None:
    verdict = decide([4, 4, 4, 0, 0, 0], [4, 4, 0, 0, 0, 2])
    assert verdict.difference < -0.05
    assert verdict.high > 0
    assert not verdict.promote
    assert "fell by more than 0.050" in verdict.reason


def test_a_sure_fall_is_refused_though_it_is_within_the_tolerance() -> None:
    verdict = decide([20] * 50, [19] * 50, samples=40)
    assert verdict.difference == pytest.approx(-0.025)
    assert not verdict.promote
    assert "but surely" in verdict.reason


def test_a_fall_of_just_the_tolerance_is_not_beyond_it() -> None:
    # 4 of 80 samples: minus 0.05, on tasks that differ enough to leave it open.
    verdict = decide([4] * 5 + [2] * 15, [0] * 3 + [4] * 2 + [2] * 11 + [4] * 4)
    assert verdict.difference == pytest.approx(-0.05)
    assert verdict.promote


def test_unsure_falls_that_have_added_up_are_refused() -> None:
    first, old, new = [3] * 20, [3] * 10 + [2] * 10, [3] * 8 + [2] * 11 + [3]
    assert decide(old, new).promote
    verdict = decide(old, new, first=first)
    assert not verdict.promote
    assert verdict.difference == pytest.approx(-1 / 80)
    assert "falls have added up: it is surely below version 0, by -0.138 [" in verdict.reason


def test_an_unsure_fall_below_the_first_version_is_promoted() -> None:
    assert decide([2] * 20, [2] * 20, first=[4] * 3 + [2] * 16 + [1]).promote


@given(counts)
@settings(max_examples=60)
def test_a_version_that_is_not_worse_is_never_refused(pairs: list[tuple[int, int]]) -> None:
    low, high = [min(pair) for pair in pairs], [max(pair) for pair in pairs]
    assert decide(low, high).promote


@given(counts, st.sampled_from([0.0, 0.05, 0.3, 1.0]))
@settings(max_examples=60)
def test_it_decides_by_its_own_figures(pairs: list[tuple[int, int]], tolerance: float) -> None:
    verdict = decide([old for old, _ in pairs], [new for _, new in pairs], tolerance=tolerance)
    refused = verdict.difference < -tolerance - 1e-9 or verdict.high < -1e-9
    assert verdict.promote is not refused
    assert verdict.low - 1e-9 <= verdict.difference <= verdict.high + 1e-9


@given(counts)
@settings(max_examples=40)
def test_more_tolerance_never_refuses_more(pairs: list[tuple[int, int]]) -> None:
    old, new = [a for a, _ in pairs], [b for _, b in pairs]
    assert decide(old, new, tolerance=0.2).promote or not decide(old, new, tolerance=0.1).promote


def test_the_reason_holds_the_figures() -> None:
    verdict = decide([4, 0], [0, 0])
    assert re.match(
        r"gate pass@1 0\.500 -> 0\.000, difference -0\.500 \[.*\] at 95% over 2 tasks: it fell", verdict.reason
    )


def test_other_tasks_cannot_be_compared() -> None:
    with pytest.raises(ValueError, match="same tasks"):
        decide([1, 2], [1])


def test_a_greedy_gate_tells_mcnemars_test_too() -> None:
    verdict = decide([1, 1, 0, 0, 0, 0], [1, 0, 1, 1, 1, 1], samples=1)
    assert "over 6 tasks (1 lost, 4 won, McNemar's p 0.375): no fall" in verdict.reason
    assert "McNemar" not in decide([2] * 3, [2] * 3).reason
