import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from evals.mcnemar import McNemar, mcnemar, two_sided
from protocols.records import TaskResult

Marks = str


def results(marks: Marks, samples: int = 1) -> tuple[TaskResult, ...]:
    """One result a task, solved where `marks` has a `1`."""
    return tuple(TaskResult(task_id=f"t{n}", samples=samples, correct=int(mark)) for n, mark in enumerate(marks))


def test_by_hand() -> None:
    # Six tasks differ, five of them to the new side: 2 (C(6,0) + C(6,1)) / 2^6.
    old, new = "1100000", "0111111"
    assert mcnemar(results(old), results(new)) == McNemar(1, 5, pytest.approx(2 * (1 + 6) / 64))


@given(st.integers(0, 60), st.integers(0, 60))
def test_it_is_scipys_binomial_test_on_the_tasks_that_differ(one: int, other: int) -> None:
    expected = scipy.stats.binomtest(one, one + other, 0.5).pvalue if one + other else 1.0
    assert two_sided(one, other) == pytest.approx(expected)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=40))
def test_agreement_says_nothing_and_the_sides_may_be_exchanged(pairs: list[tuple[bool, bool]]) -> None:
    old = results("".join(str(int(a)) for a, _ in pairs))
    new = results("".join(str(int(b)) for _, b in pairs))
    there, back = mcnemar(old, new), mcnemar(new, old)
    assert (there.only_old, there.only_new, there.p_value) == (back.only_new, back.only_old, back.p_value)
    assert there.only_old + there.only_new == sum(a != b for a, b in pairs)
    assert 0 < there.p_value <= 1


def test_hundreds_of_tasks_stay_exact() -> None:
    assert two_sided(400, 600) == pytest.approx(scipy.stats.binomtest(400, 1000, 0.5).pvalue)


def test_other_tasks_and_several_samples_are_refused() -> None:
    with pytest.raises(ValueError, match="only on one: t2"):
        mcnemar(results("111"), results("11"))
    with pytest.raises(ValueError, match="one sample a task; t0 has 4"):
        mcnemar(results("1", samples=4), results("1"))
