from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.pass_at_k import mean_pass_at_k, pass_at_k
from protocols.records import TaskResult


def result(samples: int, correct: int, task_id: str = "t") -> TaskResult:
    return TaskResult(task_id=task_id, samples=samples, correct=correct)


@st.composite
def counts(draw: st.DrawFn) -> tuple[int, int, int]:
    n = draw(st.integers(1, 60))
    return n, draw(st.integers(0, n)), draw(st.integers(1, n))


@pytest.mark.parametrize(
    ("n", "c", "k", "expected"),
    [(1, 0, 1, 0.0), (1, 1, 1, 1.0), (4, 1, 1, 0.25), (4, 1, 4, 1.0), (4, 2, 2, 5 / 6), (5, 2, 3, 0.9), (10, 0, 10, 0)],
)
def test_values_by_hand(n: int, c: int, k: int, expected: float) -> None:
    assert pass_at_k(n, c, k) == pytest.approx(expected)


@given(st.integers(1, 8), st.data())
def test_it_is_the_share_of_subsets_with_a_correct_sample(n: int, data: st.DataObject) -> None:
    c, k = data.draw(st.integers(0, n)), data.draw(st.integers(1, n))
    subsets = list(combinations(range(n), k))
    assert pass_at_k(n, c, k) == pytest.approx(sum(any(i < c for i in subset) for subset in subsets) / len(subsets))


@given(counts())
def test_it_equals_the_product_form_of_the_paper(values: tuple[int, int, int]) -> None:
    n, c, k = values
    product = 1.0 if n - c < k else float(1.0 - np.prod(1.0 - k / np.arange(n - c + 1, n + 1)))
    assert pass_at_k(n, c, k) == pytest.approx(product, abs=1e-12)


@given(counts())
def test_it_is_a_share_that_grows_with_k_and_with_c(values: tuple[int, int, int]) -> None:
    n, c, k = values
    assert 0 <= pass_at_k(n, c, k) <= 1
    assert k == n or pass_at_k(n, c, k) <= pass_at_k(n, c, k + 1)
    assert c == n or pass_at_k(n, c, k) <= pass_at_k(n, c + 1, k)


@given(counts())
def test_pass_at_1_is_the_share_correct(values: tuple[int, int, int]) -> None:
    n, c, _ = values
    assert pass_at_k(n, c, 1) == pytest.approx(c / n)


def test_large_numbers_stay_exact() -> None:
    assert pass_at_k(10_000, 1, 5_000) == pytest.approx(0.5)


@pytest.mark.parametrize(("n", "c", "k"), [(4, 5, 1), (4, -1, 1), (4, 2, 0), (4, 2, 5), (0, 0, 1)])
def test_what_makes_no_sense_is_refused(n: int, c: int, k: int) -> None:
    with pytest.raises(ValueError, match="must be between"):
        pass_at_k(n, c, k)


def test_the_mean_is_over_tasks_not_over_samples() -> None:
    assert mean_pass_at_k([result(100, 100), result(1, 0)], 1) == 0.5


def test_no_tasks_have_no_mean() -> None:
    with pytest.raises(ValueError, match="no tasks"):
        mean_pass_at_k([], 1)
