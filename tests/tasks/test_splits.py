"""What is trained on tells nothing of what is asked at the gate and for the report."""

import re
from collections import defaultdict
from itertools import combinations

import pytest

from method.curation import overlap_index, overlaps
from method.normal_form import shape
from protocols.records import Task
from tests.tasks.task_sets import SPLITS, all_tasks, reference_of, tasks_of

LARGEST_LIKENESS = 0.6


@pytest.mark.parametrize(("asked", "other"), [("gate", "train"), ("held_out", "train"), ("held_out", "gate")])
def test_curation_finds_no_overlap(asked: str, other: str) -> None:
    index = overlap_index(tasks_of(asked))
    assert {task.id: found for task in tasks_of(other) if (found := overlaps(index, task))} == {}


def test_curation_would_find_an_overlap() -> None:
    task = tasks_of("gate")[0]
    assert overlaps(overlap_index(tasks_of("gate")), task) == task.id


def test_no_two_references_are_the_same_code_up_to_names() -> None:
    by_shape: defaultdict[str, list[str]] = defaultdict(list)
    for task in all_tasks():
        by_shape[shape(reference_of(task))].append(task.id)
    assert [ids for ids in by_shape.values() if len(ids) > 1] == []


@pytest.mark.parametrize(("one", "other"), combinations(SPLITS, 2))
def test_no_two_instructions_of_different_sets_are_alike(one: str, other: str) -> None:
    pairs = [(left, right) for left in tasks_of(one) for right in tasks_of(other)]
    assert [(left.id, right.id) for left, right in pairs if _likeness(left, right) >= LARGEST_LIKENESS] == []


def _likeness(left: Task, right: Task) -> float:
    """Return the Jaccard similarity of the instructions' sets of words, in [0, 1]."""
    ours, theirs = _words(left), _words(right)
    return len(ours & theirs) / len(ours | theirs)


def _words(task: Task) -> set[str]:
    return set(re.findall(r"\w+", task.instruction.lower()))
