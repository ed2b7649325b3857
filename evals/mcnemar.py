"""McNemar's exact test: whether two greedy runs over the same tasks differ by more than chance.

Source: McNemar 1947, in its exact form: the tasks that only one side solved are as likely to fall to either side when
the two are equally good, so their split is binomial with one half. Tasks on which both agree say nothing.
Only for one sample a task; with several, `evals.bootstrap` compares.
"""

from collections.abc import Sequence
from math import comb
from typing import NamedTuple

from protocols.records import TaskResult


class McNemar(NamedTuple):
    """The tasks on which two sides differ, and how likely so uneven a split is by chance."""

    only_old: int
    """Tasks that the old side alone solved."""
    only_new: int
    p_value: float
    """Two-sided, in (0, 1]."""


def mcnemar(old: Sequence[TaskResult], new: Sequence[TaskResult]) -> McNemar:
    """Return the exact test on two sides' results, one sample a task.

    Raises:
        ValueError: the two are not of the same tasks, or a task has not exactly one sample.
    """
    before, after = _solved(old), _solved(new)
    if before.keys() != after.keys():
        odd = sorted(before.keys() ^ after.keys())
        raise ValueError(f"McNemar's test needs the same tasks on both sides; only on one: {', '.join(odd[:5])}")
    only_old = sum(before[task] and not after[task] for task in before)
    only_new = sum(after[task] and not before[task] for task in before)
    return McNemar(only_old, only_new, two_sided(only_old, only_new))


def two_sided(one: int, other: int) -> float:
    """Return the chance of a split at least as uneven as `one` against `other`, each of 0 or more, by a fair coin."""
    total = one + other
    tail = sum(comb(total, count) for count in range(min(one, other) + 1))
    return min(1.0, 2 * tail / 2**total)


def _solved(results: Sequence[TaskResult]) -> dict[str, bool]:
    for result in results:
        if result.samples != 1:
            raise ValueError(f"McNemar's test needs one sample a task; {result.task_id} has {result.samples}")
    return {result.task_id: result.correct == 1 for result in results}
