from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from method.schedule import LONGEST_WAIT, Order, Visit, next_visit, order_tasks


def seen(*shares: float, first: int = 0, of: int = 8) -> tuple[Visit, ...]:
    """One visit a round, of which these shares were solved."""
    return tuple(Visit(first + number, round(share * of), of) for number, share in enumerate(shares))


KNOWN = {"half": seen(0.5), "rare": seen(0.125), "solved": seen(1.0), "hopeless": seen(0.0)}


def order(round: int, limit: int | None = None) -> tuple[str, ...]:
    return order_tasks(["solved", "hopeless", "rare", "new", "half"], KNOWN, round, Random(0), limit)


def test_new_tasks_come_first_then_the_most_uncertain_then_what_is_due() -> None:
    assert order(round=1) == ("new", "half", "rare", "solved", "hopeless")


def test_a_task_that_was_never_answered_is_new() -> None:
    ids = {"asked": (Visit(0, 0, 0),), "half": seen(0.5)}
    assert order_tasks(list(ids), ids, 1, Random(0), None) == ("asked", "half")


def test_the_last_visit_tells_of_the_current_policy_not_those_before() -> None:
    ids = {"was learnt": seen(0.5, 1.0), "was lost": seen(1.0, 0.5)}
    for seed in range(5):
        assert order_tasks(list(ids), ids, 2, Random(seed), 1) == ("was lost",)


@pytest.mark.parametrize(
    ("shares", "due"),
    [
        ((1.0,), 0 + 2),
        ((1.0, 1.0), 1 + 4),
        ((1.0, 1.0, 1.0), 2 + 8),
        ((0.0,), 0 + 3),
        ((0.0, 0.0), 1 + 9),
        ((0.0, 0.0, 0.0), 2 + 27),
        ((1.0, 1.0, 0.0), 2 + 3),
        ((0.0, 0.0, 0.5, 1.0), 3 + 2),
    ],
)
def test_solved_and_hopeless_tasks_return_at_growing_intervals(shares: tuple[float, ...], due: int) -> None:
    assert next_visit(seen(*shares)) == due


def test_no_task_waits_for_ever() -> None:
    assert next_visit(seen(*[0.0] * 60)) == 59 + LONGEST_WAIT


def test_a_task_that_is_due_comes_before_one_that_is_not_and_the_longest_overdue_first() -> None:
    ids = {"due": seen(1.0), "overdue": seen(1.0, first=-5), "not due": seen(0.0)}
    assert order_tasks(list(ids), ids, 2, Random(0), None) == ("overdue", "due", "not due")


def test_the_limit_cuts_the_end_of_the_order() -> None:
    assert order(round=2, limit=2) == order(round=2)[:2]


def test_uniform_order_looks_at_nothing() -> None:
    ids = [str(number) for number in range(20)]
    one = order_tasks(ids, {"3": seen(0.5)}, 1, Random(5), None, order="uniform")
    assert one == order_tasks(ids, {"7": seen(1.0)}, 9, Random(5), None, order="uniform")
    assert one != tuple(ids)


def visits_to_learnable(order: Order) -> float:
    """Share of the work that goes to the learnable third of the tasks, over twelve rounds of a third each."""
    rates = {f"{kind}{number}": rate for kind, rate in (("a", 1.0), ("b", 0.4), ("c", 0.0)) for number in range(10)}
    rng, work = Random(3), Counter[str]()
    visits: dict[str, tuple[Visit, ...]] = {}
    for number in range(12):
        for id in order_tasks(list(rates), visits, number, Random(number), 10, order=order):
            solved = sum(rng.random() < rates[id] for _ in range(8))
            visits[id] = (*visits.get(id, ()), Visit(number, solved, 8))
            work[id[0]] += 1
    return work["b"] / work.total()


def test_the_work_goes_to_what_can_be_learnt() -> None:
    assert visits_to_learnable("learning") > 2 * visits_to_learnable("uniform")


histories = st.lists(st.integers(1, 9).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), max_size=4).map(
    lambda rows: tuple(Visit(number, solved, of) for number, (solved, of) in enumerate(rows))
)
known = st.dictionaries(st.text("abc", max_size=3), histories)


@given(known, st.integers(4, 40), st.one_of(st.none(), st.integers(0, 10)), st.booleans(), st.integers())
def test_an_order_is_a_choice_without_doubles_and_depends_on_the_seed_alone(
    visits: dict[str, tuple[Visit, ...]], round: int, limit: int | None, uniform: bool, seed: int
) -> None:
    def once() -> tuple[str, ...]:
        order: Order = "uniform" if uniform else "learning"
        return order_tasks(list(visits), visits, round, Random(seed), limit, order=order)

    result = once()
    assert result == once()
    assert len(set(result)) == len(result) == min(len(visits), len(visits) if limit is None else limit)


@given(known, st.integers())
def test_what_can_still_be_learnt_from_comes_before_the_rest(visits: dict[str, tuple[Visit, ...]], seed: int) -> None:
    def stage(id: str) -> int:
        return 0 if not visits[id] else 1 if 0 < visits[id][-1].share < 1 else 2

    stages = [stage(id) for id in order_tasks(list(visits), visits, 5, Random(seed), None)]
    assert stages == sorted(stages)
