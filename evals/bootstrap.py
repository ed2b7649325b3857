"""Bootstrap over tasks: how sure a pass@1 is, and how sure a difference between two.

Tasks are drawn with putting back; a task's samples stay together, because they are not independent of each other.
Percentile intervals (Efron and Tibshirani 1993, chapter 13). The same seed gives the same interval.

Not covered: tasks that all come out alike give an interval of length 0, though further tasks might not.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from evals.pass_at_k import pass_at_k
from protocols.records import TaskResult

_CHUNK = 1 << 22
"""Draws held in memory at once, at most."""


class Difference(NamedTuple):
    """pass@1 of the new minus that of the old, over the tasks that both answered."""

    mean: float
    """In [-1, 1]; below 0 the new one is worse."""
    low: float
    """Lower end of the interval at the confidence asked for."""
    high: float
    tasks: int


def interval(
    results: Sequence[TaskResult], *, k: int = 1, confidence: float = 0.95, resamples: int = 2000, seed: int
) -> tuple[float, float]:
    """Return the percentile interval of pass@k.

    Raises:
        ValueError: no results, a task with fewer than `k` samples, or a confidence outside (0, 1).
    """
    rates = np.array([pass_at_k(result.samples, result.correct, k) for result in results])
    return _percentiles(_resampled_means(rates, resamples, seed), confidence)


def paired_difference(
    old: Sequence[TaskResult],
    new: Sequence[TaskResult],
    *,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int,
) -> Difference:
    """Return the difference of pass@1 (new minus old), by a bootstrap that draws each task for both at once.

    Raises:
        ValueError: the two are not of the same tasks, and as `interval`.
    """
    before = {result.task_id: pass_at_k(result.samples, result.correct, 1) for result in old}
    after = {result.task_id: pass_at_k(result.samples, result.correct, 1) for result in new}
    if before.keys() != after.keys():
        odd = sorted(before.keys() ^ after.keys())
        raise ValueError(f"a paired comparison needs the same tasks on both sides; only on one: {', '.join(odd[:5])}")
    differences = np.array([after[task] - before[task] for task in sorted(before)])
    low, high = _percentiles(_resampled_means(differences, resamples, seed), confidence)
    return Difference(float(differences.mean()), low, high, len(differences))


def _resampled_means(values: NDArray[np.float64], resamples: int, seed: int) -> NDArray[np.float64]:
    if not values.size:
        raise ValueError("a bootstrap needs at least one task")
    generator = np.random.default_rng(seed)
    rows = max(1, _CHUNK // values.size)
    parts = [
        values[generator.integers(values.size, size=(min(rows, resamples - start), values.size))].mean(axis=1)
        for start in range(0, resamples, rows)
    ]
    return np.concatenate(parts)


def _percentiles(means: NDArray[np.float64], confidence: float) -> tuple[float, float]:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be between 0 and 1, got {confidence}")
    tail = (1 - confidence) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)
