"""Which tasks come next: those from which the policy can still learn.

A task is judged by its last visit, since that tells most of the current policy. Order of `learning`: new tasks; tasks
that were solved sometimes, the most uncertain first; solved or hopeless tasks that are due again; the others, the most
nearly due first. Invariant: nothing is ever left out but by `limit`.
"""

from collections.abc import Mapping, Sequence
from random import Random
from typing import Literal

import msgspec

Order = Literal["learning", "uniform"]

SOLVED_GROWTH, HOPELESS_GROWTH = 2, 3
"""By how much the rounds until the next visit grow with each visit that came out the same."""
LONGEST_WAIT = 1000
"""Rounds, at most."""


class Visit(msgspec.Struct, frozen=True):
    """How a task came out in one round."""

    round: int
    solved: int
    """Responses that passed everything."""
    responses: int

    @property
    def share(self) -> float:
        """Share solved, in [0, 1]."""
        return self.solved / self.responses if self.responses else 0.0


def order_tasks(
    task_ids: Sequence[str],
    visits: Mapping[str, Sequence[Visit]],
    round: int,
    rng: Random,
    limit: int | None,
    *,
    order: Order = "learning",
) -> tuple[str, ...]:
    """Return the tasks of one round, in order.

    Args:
        task_ids: all training tasks.
        visits: by task, in order of round; a task without responses so far is new.
        round: number of the round that is planned.
        rng: decides among equals.
        limit: how many at most; None for all.
        order: `uniform` is a plain shuffle.
    """
    shuffled = list(task_ids)
    rng.shuffle(shuffled)
    if order == "learning":
        shuffled.sort(key=lambda task_id: _priority(visits.get(task_id, ()), round))
    return tuple(shuffled[:limit])


def next_visit(visits: Sequence[Visit]) -> int:
    """Return the round in which a task that was solved always, or never, at its last visit is due again.

    The wait grows with the number of visits in a row that came out so: 2, 4, 8 rounds for a solved task, 3, 9, 27 for a
    hopeless one.
    """
    last = visits[-1]
    streak = next((number for number, visit in enumerate(reversed(visits)) if visit.share != last.share), len(visits))
    growth = SOLVED_GROWTH if last.share == 1.0 else HOPELESS_GROWTH
    return last.round + min(LONGEST_WAIT, growth ** min(streak, 10))


def _priority(visits: Sequence[Visit], round: int) -> tuple[int, float]:
    known = [visit for visit in visits if visit.responses]
    if not known:
        return 0, 0.0
    share = known[-1].share
    if 0.0 < share < 1.0:
        return 1, -share * (1 - share)
    missing = next_visit(known) - round
    return (2 if missing <= 0 else 3), float(missing)
