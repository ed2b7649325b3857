from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from method.schedule import order_tasks

SUCCESS = {"half": (4, 8), "rare": (1, 8), "solved": (8, 8), "hopeless": (0, 8)}
SEEN = dict.fromkeys(SUCCESS, 1)


def order(round: int, limit: int | None = None, **changes: tuple[int, int]) -> tuple[str, ...]:
    success = SUCCESS | changes
    return order_tasks(["solved", "hopeless", "rare", "new", "half"], success, SEEN, round, Random(0), limit)


def test_new_tasks_come_first_then_the_most_uncertain_then_what_is_due() -> None:
    assert order(round=2)[:3] == ("new", "half", "rare")


def test_solved_tasks_return_at_growing_intervals() -> None:
    # 8 responses: every 2 rounds; 64 responses: every 8 rounds.
    ids, seen = ["other", "solved"], {"other": 1, "solved": 1}

    def first(responses: int, round: int) -> str:
        success = {"solved": (responses, responses), "other": (0, 10_000)}
        return order_tasks(ids, success, seen, round, Random(0), 1)[0]

    assert first(8, 3) == first(64, 9) == "solved"


def test_a_task_that_is_due_comes_before_one_that_is_not() -> None:
    success = {"a": (64, 64), "b": (8, 8)}
    assert order_tasks(["a", "b"], success, {"a": 1, "b": 1}, 3, Random(0), None) == ("b", "a")
    assert order_tasks(["a", "b"], success, {"a": 1, "b": 8}, 9, Random(0), None) == ("a", "b")


@pytest.mark.parametrize("responses", [32, 64, 128])
def test_hopeless_tasks_wait_longer_than_solved_ones(responses: int) -> None:
    success = {"solved": (responses, responses), "hopeless": (0, responses)}
    seen = {"solved": 1, "hopeless": 1}
    for seed in range(5):
        assert order_tasks(list(success), success, seen, 2, Random(seed), None) == ("solved", "hopeless")


def test_the_limit_cuts_the_end_of_the_order() -> None:
    assert order(round=2, limit=2) == order(round=2)[:2]


def test_uniform_order_looks_at_nothing() -> None:
    ids = [str(number) for number in range(20)]
    success = {"3": (4, 8)}
    one = order_tasks(ids, success, {}, 1, Random(5), None, mode="uniform")
    assert one == order_tasks(ids, {}, {"7": 3}, 9, Random(5), None, mode="uniform")
    assert one != tuple(ids)


outcomes = st.integers(0, 40).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@given(
    st.dictionaries(st.text("abc", max_size=3), outcomes),
    st.integers(1, 30),
    st.one_of(st.none(), st.integers(0, 10)),
    st.sampled_from(["learning", "uniform"]),
    st.integers(),
)
def test_an_order_is_a_choice_without_doubles_and_depends_on_the_seed_alone(
    success: dict[str, tuple[int, int]], round: int, limit: int | None, mode: str, seed: int
) -> None:
    def once() -> tuple[str, ...]:
        return order_tasks(list(success), success, {}, round, Random(seed), limit, mode=mode)  # pyright: ignore[reportArgumentType]

    result = once()
    assert result == once()
    assert len(set(result)) == len(result) == min(len(success), len(success) if limit is None else limit)


@given(st.dictionaries(st.text("abc", max_size=3), outcomes), st.integers())
def test_what_can_still_be_learnt_from_comes_before_the_rest(success: dict[str, tuple[int, int]], seed: int) -> None:
    def stage(id: str) -> int:
        correct, responses = success[id]
        return 0 if responses == 0 else 1 if 0 < correct < responses else 2

    stages = [stage(id) for id in order_tasks(list(success), success, {}, 3, Random(seed), None)]
    assert stages == sorted(stages)
