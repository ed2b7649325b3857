"""pass@k: the chance that at least one of k samples is correct.

Source: Chen et al. 2021, "Evaluating Large Language Models Trained on Code" (arXiv 2107.03374), the unbiased estimator
from n >= k samples of a task, and its mean over tasks.
"""

from collections.abc import Sequence
from math import comb

from protocols.records import TaskResult


def pass_at_k(n: int, c: int, k: int) -> float:
    """Return the unbiased estimate of pass@k from `n` samples of which `c` are correct, in [0, 1].

    It is one minus the chance that k samples drawn without putting back are all wrong.

    Raises:
        ValueError: not 0 <= c <= n, or not 1 <= k <= n.
    """
    if not 0 <= c <= n:
        raise ValueError(f"the correct samples must be between 0 and {n}, got {c}")
    if not 1 <= k <= n:
        raise ValueError(f"k must be between 1 and the number of samples, {n}; got {k}")
    return 1.0 - comb(n - c, k) / comb(n, k)


def mean_pass_at_k(results: Sequence[TaskResult], k: int) -> float:
    """Return pass@k as the mean over tasks, in [0, 1].

    Raises:
        ValueError: no results, or a task has fewer than `k` samples.
    """
    if not results:
        raise ValueError("pass@k of no tasks is not defined")
    return sum(pass_at_k(result.samples, result.correct, k) for result in results) / len(results)
