import functools

import pytest

from evals.evaluation import make_evaluation
from protocols.codec import decode, encode
from protocols.records import TaskResult

RESULTS = [
    TaskResult(task_id="a", samples=4, correct=1),
    TaskResult(task_id="b", samples=4, correct=0),
    TaskResult(task_id="c", samples=4, correct=4),
]
make = functools.partial(
    make_evaluation, round=3, executable_share=0.5, prompt_tokens=7, completion_tokens=8, seconds=9.0, seed=0
)


def test_it_holds_the_estimates_and_an_interval_around_them() -> None:
    evaluation = make(purpose="held_out", version=2, results=RESULTS, ks=(1, 2, 4))
    assert evaluation.pass_at_1 == pytest.approx(5 / 12)
    assert evaluation.pass_at_k == pytest.approx({1: 5 / 12, 2: 0.5, 4: 2 / 3})
    assert 0 <= evaluation.low < evaluation.pass_at_1 < evaluation.high <= 1


def test_its_id_follows_from_purpose_version_and_round() -> None:
    ids = {
        make(purpose="gate", version=1, results=RESULTS, ks=(1,)).id,
        make(purpose="gate", version=1, results=RESULTS[:1], ks=(1, 4)).id,
        make(purpose="gate", version=2, results=RESULTS, ks=(1,)).id,
        make(purpose="held_out", version=1, results=RESULTS, ks=(1,)).id,
    }
    assert len(ids) == 3


def test_a_k_for_which_there_are_too_few_samples_is_left_out() -> None:
    greedy = [TaskResult(task_id="a", samples=1, correct=1)]
    assert make(purpose="gate", version=1, results=greedy, ks=(1, 4)).pass_at_k == {1: 1.0}


def test_it_can_be_kept_in_the_ledger() -> None:
    evaluation = make(purpose="gate", version=1, results=RESULTS, ks=(1, 4))
    assert decode(encode(evaluation)) == evaluation


def test_no_results_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one task"):
        make(purpose="gate", version=1, results=[], ks=(1,))
