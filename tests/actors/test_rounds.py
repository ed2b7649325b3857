"""The round planner: which tasks a round has, and when it may begin."""

import msgspec
import pytest
import trio
import trio.testing

from actors.board import RoundBoard
from actors.messages import Assignment, Item
from actors.rounds import RoundPlanner
from ledger.memory import MemoryLedger
from method.schedule import Order
from protocols.records import Round, Score
from tests.actors.parts import (
    BrittleLedger,
    Fault,
    make_candidate,
    make_decision,
    make_execution,
    make_task,
    raise_error,
)

TASKS = tuple(make_task(number) for number in range(4))


class Bench:
    def __init__(
        self,
        ledger: MemoryLedger | None = None,
        *,
        rounds: int = 2,
        lead: int = 0,
        limit: int | None = None,
        settled: int = 0,
        room: int = 100,
        order: Order = "learning",
    ) -> None:
        outbox, self.out = trio.open_memory_channel[Item](room)
        self.board = RoundBoard(settled)
        self.ledger = ledger or MemoryLedger()
        self.planner = RoundPlanner(
            TASKS, self.ledger, self.board, outbox, rounds=rounds, tasks_per_round=limit, lead=lead, seed=1, order=order
        )

    def assigned(self) -> list[tuple[int, str]]:
        taken: list[tuple[int, str]] = []
        while True:
            try:
                item = self.out.receive_nowait()
            except (trio.WouldBlock, trio.EndOfChannel):
                return taken
            assert isinstance(item, Assignment)
            taken.append((item.round, item.task.id))


async def test_without_lead_a_round_waits_until_the_one_before_is_settled() -> None:
    bench = Bench(lead=0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.planner.run)
        await trio.testing.wait_all_tasks_blocked()
        first = bench.assigned()
        assert sorted(first) == [(0, task.id) for task in TASKS]
        assert len(await bench.ledger.find(Round)) == 1
        bench.board.settle(0)
        await trio.testing.wait_all_tasks_blocked()
        assert sorted(bench.assigned()) == [(1, task.id) for task in TASKS]


async def test_with_a_lead_of_one_the_next_round_overlaps() -> None:
    bench = Bench(lead=1, rounds=3)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.planner.run)
        await trio.testing.wait_all_tasks_blocked()
        assert {round for round, _ in bench.assigned()} == {0, 1}
        bench.board.settle(0)
        await trio.testing.wait_all_tasks_blocked()
        assert {round for round, _ in bench.assigned()} == {2}


async def test_the_outbox_is_closed_after_the_last_round() -> None:
    bench = Bench(rounds=1)
    await bench.planner.run()
    bench.assigned()
    with pytest.raises(trio.EndOfChannel):
        await bench.out.receive()


async def test_a_run_that_goes_on_keeps_the_plan_that_is_on_record() -> None:
    first = Bench(rounds=1, limit=2)
    await first.planner.run()
    planned = first.assigned()
    for task in TASKS:  # what was learnt since would order the tasks otherwise
        candidate = make_candidate(task, 0, "pass")
        await first.ledger.append(candidate, make_execution(task, candidate.id, [True, True]))
    again = Bench(first.ledger, rounds=1, limit=2)
    await again.planner.run()
    assert again.assigned() == planned
    assert len(planned) == 2


async def test_a_run_that_goes_on_begins_with_the_first_round_that_is_not_settled() -> None:
    bench = Bench(settled=1, rounds=2)
    await bench.planner.run()
    assert {round for round, _ in bench.assigned()} == {1}


async def test_tasks_that_can_still_be_learnt_from_come_first() -> None:
    bench = Bench(rounds=1, limit=1)
    for task in TASKS:
        passed = [True, True] if task.id != "task2" else [True, False]
        solved, failed = make_candidate(task, 0, "a"), make_candidate(task, 1, "b")
        other = [False, False] if task.id == "task2" else [True, True]
        await bench.ledger.append(
            solved,
            failed,
            make_execution(task, solved.id, [True, True]),
            make_execution(task, failed.id, other if task.id == "task2" else passed),
        )
    await bench.planner.run()
    assert bench.assigned() == [(0, "task2")]


async def test_in_uniform_order_what_was_learnt_does_not_matter() -> None:
    plans: set[tuple[tuple[int, str], ...]] = set()
    for learnable in TASKS:
        bench = Bench(rounds=1, limit=2, order="uniform")
        for task in TASKS:
            solved, failed = make_candidate(task, 0, "a"), make_candidate(task, 1, "b")
            right = [task is learnable] * 2
            await bench.ledger.append(solved, failed, make_execution(task, solved.id, [True, True]))
            await bench.ledger.append(make_execution(task, failed.id, right))
        await bench.planner.run()
        plans.add(tuple(bench.assigned()))
    assert len(plans) == 1


async def test_where_no_tests_tell_what_all_agree_on_counts_as_solved() -> None:
    bench = Bench(rounds=1, limit=1)
    for task in TASKS:
        one, other = make_candidate(task, 0, "a"), make_candidate(task, 1, "b")
        guesses = [
            msgspec.structs.replace(make_execution(task, id, [True, False]), evidence="consensus")
            for id in (one.id, other.id)
        ]
        shares = {one.id: 1.0, other.id: 0.5 if task.id == "task2" else 1.0}
        scores = tuple(
            Score(subject_id=id, execution_share=share, win_rate=None, weight=0.0, value=share)
            for id, share in shares.items()
        )
        decided = msgspec.structs.replace(make_decision(task, ("skip",)), scores=scores)
        await bench.ledger.append(one, other, *guesses, decided)
    await bench.planner.run()
    assert bench.assigned() == [(0, "task2")]


async def test_after_a_failure_nothing_is_assigned_twice_and_nothing_is_left_out() -> None:
    ledger = BrittleLedger(at=2, act=raise_error(Fault("disk")))
    bench = Bench(ledger, rounds=2, lead=1)
    with pytest.raises(ExceptionGroup):
        await bench.planner.run()
    await bench.planner.run()
    assert sorted(bench.assigned()) == [(round, task.id) for round in (0, 1) for task in TASKS]


async def test_told_to_stop_it_assigns_nothing_more_and_closes_its_outbox() -> None:
    bench = Bench(rounds=1, room=0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.planner.run)
        await bench.out.receive()
        await trio.testing.wait_all_tasks_blocked()
        bench.planner.stop()
        await trio.testing.wait_all_tasks_blocked()
    with pytest.raises(trio.EndOfChannel):
        await bench.out.receive()


async def test_told_to_stop_while_it_waits_for_a_round_it_ends() -> None:
    bench = Bench(rounds=2)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.planner.run)
        await trio.testing.wait_all_tasks_blocked()
        bench.planner.stop()
    assert {round for round, _ in bench.assigned()} == {0}


async def test_the_board_wakes_everybody_who_waits_for_a_settled_round() -> None:
    board = RoundBoard()
    woken: list[int] = []

    async def wait(rounds: int) -> None:
        await board.wait_settled(rounds)
        woken.append(rounds)

    async with trio.open_nursery() as nursery:
        for rounds in (0, 1, 2):
            nursery.start_soon(wait, rounds)
        await trio.testing.wait_all_tasks_blocked()
        assert woken == [0]
        board.settle(1)  # and round 0 with it
        await trio.testing.wait_all_tasks_blocked()
        assert sorted(woken) == [0, 1, 2]
        board.settle(0)
        assert board.settled == 2
