"""No evaluation task may be trained on: the task sets of a run, checked against each other before it starts.

Overlap is what `method.overlap` says: equal ids, ten words in a row, or the same code up to names. Curation asks the
same question again for every example.
"""

from collections.abc import Sequence

from method.overlap import overlap_index, overlaps
from protocols.errors import TasksError
from protocols.records import Task

_SHOWN = 5
"""Pairs that an error names."""


def overlapping_pairs(train: Sequence[Task], evaluation: Sequence[Task]) -> tuple[tuple[str, str], ...]:
    """Return the ids of each training task that overlaps an evaluation task, with one that it overlaps."""
    index = overlap_index(evaluation)
    pairs = ((task.id, overlaps(index, task)) for task in train)
    return tuple((ours, theirs) for ours, theirs in pairs if theirs is not None)


def without_overlap(
    train: Sequence[Task], evaluation: Sequence[Task]
) -> tuple[tuple[Task, ...], tuple[tuple[str, str], ...]]:
    """Return the training tasks that overlap no evaluation task, and the pairs for which the others were left out."""
    pairs = overlapping_pairs(train, evaluation)
    out = {ours for ours, _ in pairs}
    return tuple(task for task in train if task.id not in out), pairs


def check_splits(
    train: Sequence[Task], gate: Sequence[Task], held_out: Sequence[Task] = (), benchmarks: Sequence[Task] = ()
) -> None:
    """Make sure that no task of the gate, of the held-out set or of a benchmark overlaps a training task.

    Raises:
        TasksError: one does; the text names the pairs.
    """
    found = [
        f"{theirs} of the {name} tasks and {ours} of the training tasks"
        for name, tasks in (("gate", gate), ("held-out", held_out), ("benchmark", benchmarks))
        for ours, theirs in overlapping_pairs(train, tasks)
    ]
    if found:
        more = f"; and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        raise TasksError(
            f"evaluation tasks overlap training tasks: {'; '.join(found[:_SHOWN])}{more}; remove one of each"
        )
