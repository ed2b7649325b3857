from collections.abc import Sequence

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from evals.bootstrap import interval, paired_difference
from protocols.records import TaskResult

Counts = list[int]


def results(correct: Sequence[int], samples: int = 4) -> tuple[TaskResult, ...]:
    return tuple(TaskResult(task_id=f"t{n}", samples=samples, correct=count) for n, count in enumerate(correct))


correct_counts = st.lists(st.integers(0, 4), min_size=1, max_size=30)
paired_counts = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=30)


def test_it_agrees_with_scipy() -> None:
    correct = np.random.default_rng(1).integers(0, 5, size=60)
    theirs = scipy.stats.bootstrap(
        (correct / 4,), np.mean, confidence_level=0.95, n_resamples=20_000, method="percentile", rng=2
    ).confidence_interval
    ours = interval(results(correct.tolist()), resamples=20_000, seed=3)
    assert ours == pytest.approx((theirs.low, theirs.high), abs=0.006)


def test_the_paired_difference_agrees_with_scipy() -> None:
    generator = np.random.default_rng(4)
    old, new = generator.integers(0, 5, size=50), generator.integers(0, 5, size=50)
    theirs = scipy.stats.bootstrap(
        (old / 4, new / 4),
        lambda a, b, axis: np.mean(b - a, axis=axis),
        paired=True,
        confidence_level=0.9,
        n_resamples=20_000,
        method="percentile",
        vectorized=True,
        rng=5,
    ).confidence_interval
    ours = paired_difference(results(old.tolist()), results(new.tolist()), confidence=0.9, resamples=20_000, seed=6)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.008)
    assert ours.mean == pytest.approx(np.mean(new - old) / 4)


def test_two_tasks_by_hand() -> None:
    # Of 0 and 1 drawn twice: 0 in a quarter of the draws, 1 in a quarter, one half otherwise.
    pair = results([0, 4])
    assert interval(pair, confidence=0.6, seed=0) == (0.0, 1.0)
    assert interval(pair, confidence=0.4, seed=0) == (0.5, 0.5)


@given(correct_counts, st.integers(0, 2**32))
@settings(max_examples=50)
def test_it_lies_within_the_tasks_own_rates_and_around_the_mean_for_any_seed(correct: Counts, seed: int) -> None:
    low, high = interval(results(correct), resamples=400, seed=seed)
    assert min(correct) / 4 - 1e-9 <= low <= high <= max(correct) / 4 + 1e-9
    assert low - 1e-9 <= np.mean(correct) / 4 <= high + 1e-9


@given(correct_counts)
@settings(max_examples=30)
def test_the_same_seed_gives_the_same_interval(correct: Counts) -> None:
    assert interval(results(correct), seed=7, resamples=300) == interval(results(correct), seed=7, resamples=300)


@given(correct_counts)
@settings(max_examples=30)
def test_more_confidence_makes_it_wider(correct: Counts) -> None:
    narrow = interval(results(correct), confidence=0.5, resamples=400, seed=0)
    wide = interval(results(correct), confidence=0.99, resamples=400, seed=0)
    assert wide[0] <= narrow[0] <= narrow[1] <= wide[1]


def test_more_tasks_make_it_narrower() -> None:
    few, many = interval(results([0, 4] * 5), seed=0), interval(results([0, 4] * 500), seed=0)
    assert many[1] - many[0] < (few[1] - few[0]) / 5


def test_it_can_be_of_any_k() -> None:
    assert interval(results([1, 1, 1]), k=4, seed=0) == (1.0, 1.0)


@given(paired_counts, st.integers(0, 2**32))
@settings(max_examples=50)
def test_swapping_the_sides_turns_the_sign(pairs: list[tuple[int, int]], seed: int) -> None:
    old, new = results([a for a, _ in pairs]), results([b for _, b in pairs])
    there = paired_difference(old, new, resamples=300, seed=seed)
    back = paired_difference(new, old, resamples=300, seed=seed)
    assert (back.mean, back.low, back.high) == pytest.approx((-there.mean, -there.high, -there.low), abs=1e-9)


def test_the_order_of_tasks_does_not_matter() -> None:
    old, new = results([0, 1, 2, 3]), results([4, 3, 1, 0])
    assert paired_difference(old, new, seed=1) == paired_difference(old[::-1], new, seed=1)


def test_pairing_sees_a_small_but_steady_fall_that_two_intervals_would_not() -> None:
    old = results([20 * (n % 2) + 10 for n in range(100)], samples=40)
    new = results([20 * (n % 2) + 9 for n in range(100)], samples=40)
    assert interval(new, seed=0)[1] > interval(old, seed=0)[0]
    assert paired_difference(old, new, seed=0).high < 0


def test_a_large_set_is_drawn_in_parts() -> None:
    low, high = interval(results([0, 4] * 5_000), seed=0)
    assert 0.48 < low < 0.5 < high < 0.52


def test_other_tasks_cannot_be_compared() -> None:
    with pytest.raises(ValueError, match=r"only on one: t2"):
        paired_difference(results([1, 1, 1]), results([1, 1]), seed=0)


def test_no_tasks_have_no_interval() -> None:
    with pytest.raises(ValueError, match="at least one task"):
        interval([], seed=0)


@pytest.mark.parametrize("confidence", [0.0, 1.0, 95])
def test_a_confidence_outside_its_range_is_refused(confidence: float) -> None:
    with pytest.raises(ValueError, match="confidence"):
        interval(results([1]), confidence=confidence, seed=0)
