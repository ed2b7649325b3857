import pytest

from evals.leakage import check_splits, overlapping_pairs, without_overlap
from protocols.errors import TasksError
from protocols.records import Task

LONG = "Return how many of the given words begin and end with the same letter, upper and lower case alike"


def task(id: str, instruction: str, reference: str | None = None) -> Task:
    return Task(id=id, kind="function", instruction=instruction, entry_point="f", reference=reference)


TRAIN = (task("train/1", "Add two numbers together please"), task("train/2", LONG))


def test_sets_that_have_nothing_in_common_pass() -> None:
    check_splits(
        TRAIN, (task("gate/1", "Reverse the text that is given"),), (task("held/1", "Sort them by their size"),)
    )


def test_a_gate_task_that_overlaps_is_named_with_its_partner() -> None:
    with pytest.raises(TasksError, match="gate/1 of the gate tasks and train/2 of the training tasks"):
        check_splits(TRAIN, (task("gate/1", f"{LONG}, and print it"),))


def test_a_held_out_task_with_the_same_id_is_named() -> None:
    with pytest.raises(TasksError, match="train/1 of the held-out tasks and train/1 of the training tasks"):
        check_splits(TRAIN, (), (task("train/1", "Another instruction altogether, which shares no words"),))


def test_the_same_code_under_other_names_is_found() -> None:
    ours = (
        "def f(a, b):\n    total = 0\n    for x in a:\n        if x > b:\n            total += x * x\n    return total"
    )
    theirs = ours.replace("total", "sum_").replace("a,", "values,").replace("in a:", "in values:")
    pairs = overlapping_pairs((task("a", "One thing to do", ours),), (task("b", "Something else to do", theirs),))
    assert pairs == (("a", "b"),)


def test_what_overlaps_can_be_left_out_of_training() -> None:
    kept, pairs = without_overlap(TRAIN, (task("gate/1", LONG),))
    assert (kept, pairs) == (TRAIN[:1], (("train/2", "gate/1"),))


def test_only_some_of_many_pairs_are_named() -> None:
    many = tuple(task(f"train/{number}", LONG) for number in range(9))
    with pytest.raises(TasksError, match="and 4 more"):
        check_splits(many, (task("gate/1", LONG),))
