from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock, Sequencer, wait_all_tasks_blocked

from endpoints.gate import Gate
from protocols.errors import EndpointUnreachable


class Visitors:
    """Requests that stay inside until they are let go."""

    def __init__(self, gate: Gate) -> None:
        self.gate = gate
        self.leave = trio.Event()
        self.went_in = 0
        self.came_out = 0

    async def visit(self, staged: bool = False) -> None:
        await self.gate.run(self._stay, staged=staged)
        self.came_out += 1

    async def _stay(self) -> None:
        self.went_in += 1
        await self.leave.wait()


@asynccontextmanager
async def in_time() -> AsyncGenerator[trio.Nursery]:
    """A nursery whose tasks have hung when they take seconds."""
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            yield nursery


async def test_no_more_than_its_capacity_are_inside() -> None:
    visitors = Visitors(Gate(3))
    async with in_time() as nursery:
        for _ in range(5):
            nursery.start_soon(visitors.visit)
        await wait_all_tasks_blocked()
        assert (visitors.gate.inside, visitors.gate.waiting) == (3, 2)
        visitors.leave.set()
    assert visitors.came_out == 5
    assert (visitors.gate.inside, visitors.gate.waiting) == (0, 0)


async def test_a_hold_keeps_requests_outside_until_it_is_released() -> None:
    visitors = Visitors(Gate(3))
    visitors.leave.set()
    visitors.gate.hold("mine")
    async with in_time() as nursery:
        nursery.start_soon(visitors.visit)
        await wait_all_tasks_blocked()
        assert visitors.went_in == 0
        visitors.gate.release("mine")
    assert visitors.came_out == 1


async def test_two_holds_must_both_be_released() -> None:
    visitors = Visitors(Gate(3))
    visitors.leave.set()
    visitors.gate.hold("server")
    visitors.gate.hold("publishing")
    async with in_time() as nursery:
        nursery.start_soon(visitors.visit)
        visitors.gate.release("publishing")
        await wait_all_tasks_blocked()
        assert visitors.went_in == 0
        visitors.gate.release("server")


async def test_staged_requests_pass_only_holds_that_let_them() -> None:
    visitors = Visitors(Gate(3))
    visitors.leave.set()
    visitors.gate.hold("publishing", staged_pass=True)
    with trio.fail_after(1):
        await visitors.visit(staged=True)
    visitors.gate.hold("server")
    with trio.move_on_after(0.01) as scope:
        await visitors.visit(staged=True)
    assert scope.cancelled_caught


async def test_a_full_house_of_waiting_requests_does_not_keep_a_staged_one_out() -> None:
    visitors = Visitors(Gate(1))
    visitors.gate.hold("publishing", staged_pass=True)
    async with in_time() as nursery:
        for _ in range(5):
            nursery.start_soon(visitors.visit)
        await wait_all_tasks_blocked()
        visitors.leave.set()
        with trio.fail_after(1):
            await visitors.visit(staged=True)
        assert visitors.came_out == 1
        visitors.gate.release("publishing")


async def test_a_hold_that_comes_while_a_request_waits_for_a_slot_counts() -> None:
    visitors = Visitors(Gate(1))
    async with in_time() as nursery:
        nursery.start_soon(visitors.visit)
        await wait_all_tasks_blocked()
        nursery.start_soon(visitors.visit)
        await wait_all_tasks_blocked()
        visitors.gate.hold("mine")
        visitors.leave.set()
        await wait_all_tasks_blocked()
        assert visitors.went_in == 1
        visitors.gate.release("mine")
    assert visitors.went_in == 2


async def test_drained_waits_for_the_last_ordinary_request() -> None:
    visitors = Visitors(Gate(3))
    sequence = Sequencer()

    async def leave() -> None:
        async with sequence(0):
            assert visitors.gate.inside == 1
            visitors.leave.set()

    async with in_time() as nursery:
        nursery.start_soon(visitors.visit)
        await wait_all_tasks_blocked()
        nursery.start_soon(leave)
        await visitors.gate.drained()
        async with sequence(1):
            assert visitors.gate.inside == 0


async def test_drained_does_not_wait_for_staged_requests_unless_asked() -> None:
    visitors = Visitors(Gate(3))
    async with in_time() as nursery:
        nursery.start_soon(visitors.visit, True)
        await wait_all_tasks_blocked()
        with trio.fail_after(1):
            await visitors.gate.drained()
        with trio.move_on_after(0.01) as scope:
            await visitors.gate.drained(staged_too=True)
        assert scope.cancelled_caught
        visitors.leave.set()


async def test_an_interrupted_request_is_asked_again_by_itself() -> None:
    visitors = Visitors(Gate(3))
    async with in_time() as nursery:
        nursery.start_soon(visitors.visit)
        await wait_all_tasks_blocked()
        visitors.gate.hold("mine")
        visitors.gate.interrupt()
        await visitors.gate.drained()
        assert visitors.came_out == 0
        visitors.leave.set()
        visitors.gate.release("mine")
    assert (visitors.went_in, visitors.came_out, visitors.gate.interrupted) == (2, 1, 1)


async def test_a_failed_gate_turns_away_who_waits_and_who_comes() -> None:
    gate = Gate(3)
    gate.hold("server")

    async def turned_away() -> None:
        with pytest.raises(EndpointUnreachable, match="gone for good"):
            await gate.run(trio.lowlevel.checkpoint)

    async with in_time() as nursery:
        nursery.start_soon(turned_away)
        await wait_all_tasks_blocked()
        gate.fail("server", "gone for good")
    await turned_away()
    gate.release("server")
    await gate.run(trio.lowlevel.checkpoint)


async def test_a_cancelled_request_leaves_nothing_behind() -> None:
    visitors = Visitors(Gate(1))
    with trio.move_on_after(0.01):
        await visitors.visit()
    visitors.gate.hold("mine")
    with trio.move_on_after(0.01):
        await visitors.visit()
    visitors.gate.release("mine")
    visitors.leave.set()
    with trio.fail_after(1):
        await visitors.visit()
    assert (visitors.gate.inside, visitors.gate.waiting, visitors.gate.interrupted) == (0, 0, 0)


@given(
    capacity=st.integers(1, 4),
    stays=st.lists(st.floats(0.0, 5.0), min_size=1, max_size=12),
    holds=st.lists(st.tuples(st.floats(0.0, 5.0), st.floats(0.1, 5.0), st.booleans()), max_size=4),
)
def test_whatever_is_held_and_interrupted_everybody_gets_through_once(
    capacity: int, stays: list[float], holds: list[tuple[float, float, bool]]
) -> None:
    async def main() -> None:
        gate = Gate(capacity)
        most = done = 0

        async def visit(stay_s: float) -> None:
            nonlocal most, done

            async def stay() -> None:
                nonlocal most
                most = max(most, gate.inside)
                await trio.sleep(stay_s)

            await gate.run(stay)
            done += 1

        async def hold(index: int, begin: float, length: float, interrupt: bool) -> None:
            await trio.sleep(begin)
            gate.hold(str(index))
            if interrupt:
                gate.interrupt()
            await gate.drained()
            assert gate.inside == 0
            await trio.sleep(length)
            assert gate.inside == 0
            gate.release(str(index))

        async with trio.open_nursery() as nursery:
            for stay_s in stays:
                nursery.start_soon(visit, stay_s)
            for index, (begin, length, interrupt) in enumerate(holds):
                nursery.start_soon(hold, index, begin, length, interrupt)
        assert most <= capacity
        assert done == len(stays)

    trio.run(main, clock=MockClock(autojump_threshold=0))
