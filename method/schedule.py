"""Which tasks come next: those from which the policy can still learn.

Order of `learning`: new tasks; tasks solved sometimes, the most uncertain first; solved or hopeless tasks that are due
again; the others, the most nearly due first. Nothing is ever left out but by `limit`.
"""

import math
from collections.abc import Mapping, Sequence
from random import Random
from typing import Literal


def order_tasks(
    task_ids: Sequence[str],
    success: Mapping[str, tuple[int, int]],
    last_round: Mapping[str, int],
    round: int,
    rng: Random,
    limit: int | None,
    *,
    mode: Literal["learning", "uniform"] = "learning",
) -> tuple[str, ...]:
    """Return the tasks of one round, in order.

    Args:
        task_ids: all training tasks.
        success: by task, (responses that passed everything, responses) over the run so far; missing or 0 of 0: new.
        last_round: when each task was last worked on.
        round: number of the round that is planned.
        rng: decides among equals.
        limit: how many at most; None for all.
        mode: `uniform` is a plain shuffle.
    """
    shuffled = list(task_ids)
    rng.shuffle(shuffled)
    if mode == "learning":
        shuffled.sort(key=lambda task_id: _priority(success.get(task_id, (0, 0)), last_round.get(task_id), round))
    return tuple(shuffled[:limit])


def _priority(success: tuple[int, int], last_round: int | None, round: int) -> tuple[int, float]:
    correct, responses = success
    if responses == 0:
        return 0, 0.0
    if 0 < correct < responses:
        rate = correct / responses
        return 1, -rate * (1 - rate)
    missing = 0 if last_round is None else last_round + _interval(correct, responses) - round
    return (2 if missing <= 0 else 3), float(missing)


def _interval(correct: int, responses: int) -> int:
    """Return the rounds until a solved or hopeless task returns; hopeless ones wait ever longer than solved ones."""
    return max(1, math.isqrt(responses) if correct else responses // 4)
