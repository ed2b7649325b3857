"""Who runs next: short programs do not wait for endless ones, nor the other way round."""

import pytest
import trio
import trio.testing
from trio.testing import wait_all_tasks_blocked

from protocols.ports import Job, JobResult, Limits
from sandbox.process import ProcessSandbox
from sandbox.turns import Kind, Turn, Turns
from tests.sandbox.making import function_job, passed


class Room:
    """Holds turns until they are let go, and tells who has one."""

    def __init__(self, workers: int, nursery: trio.Nursery) -> None:
        self.turns = Turns(workers)
        self.inside: list[str] = []
        self._leave: dict[str, trio.CancelScope] = {}
        self._nursery = nursery

    async def enter(self, kind: Kind, name: str) -> None:
        self._nursery.start_soon(self._hold, kind, name)
        await wait_all_tasks_blocked()

    async def _hold(self, kind: Kind, name: str) -> None:
        with trio.CancelScope() as self._leave[name]:
            async with self.turns.turn(kind):
                self.inside.append(name)
                try:
                    await trio.sleep_forever()
                finally:
                    self.inside.remove(name)

    async def leave(self, name: str) -> None:
        self._leave[name].cancel()
        await wait_all_tasks_blocked()


async def test_as_many_quick_ones_run_as_there_are_workers(nursery: trio.Nursery):
    room = Room(2, nursery)
    for name in "abc":
        await room.enter("quick", name)
    assert room.inside == ["a", "b"]
    assert room.turns.waiting == 1


async def test_they_come_in_order_of_arrival(nursery: trio.Nursery):
    room = Room(1, nursery)
    for name in "abc":
        await room.enter("quick", name)
    await room.leave("a")
    assert room.inside == ["b"]


async def test_a_quick_one_runs_beside_as_many_long_ones_as_there_are_workers(nursery: trio.Nursery):
    room = Room(2, nursery)
    for name in "abc":
        await room.enter("long", name)
    await room.enter("quick", "q")
    assert room.inside == ["a", "b", "q"]


async def test_one_long_one_runs_though_quick_ones_wait(nursery: trio.Nursery):
    room = Room(1, nursery)
    for name in "pqr":
        await room.enter("quick", name)
    await room.enter("long", "a")
    assert room.inside == ["p", "a"]


async def test_a_second_long_one_waits_while_quick_ones_do(nursery: trio.Nursery):
    room = Room(2, nursery)
    for name in "pqr":
        await room.enter("quick", name)
    for name in "ab":
        await room.enter("long", name)
    assert room.inside == ["p", "q", "a"]
    await room.leave("p")
    assert room.inside == ["q", "a"]  # one worker is the long one's now
    await room.leave("q")
    assert set(room.inside) == {"a", "r", "b"}


async def test_whoever_gives_up_waiting_holds_up_nobody(nursery: trio.Nursery):
    room = Room(1, nursery)
    for name in "abc":
        await room.enter("quick", name)
    await room.leave("b")
    await room.leave("a")
    assert room.inside == ["c"]


class TestTheEndOfATurn:
    """With a clock that jumps to whatever is waited for next."""

    async def _ends(self, turns: Turns, turn: Turn) -> bool:
        with trio.move_on_after(1000):
            await turns.end_of(turn)
            return True
        return False

    async def test_a_job_that_takes_long_becomes_a_long_one_where_it_is(self, autojump_clock: trio.testing.MockClock):
        turns = Turns(1)
        async with turns.turn("quick") as turn:
            assert not await self._ends(turns, turn)
            assert turn.kind == "long"
            async with turns.turn("quick"):  # its place is free
                pass

    async def test_where_as_many_are_as_there_may_be_it_goes_on_while_nobody_waits(
        self, autojump_clock: trio.testing.MockClock
    ):
        turns = Turns(1)
        async with turns.turn("long"), turns.turn("quick") as turn:
            assert not await self._ends(turns, turn)
            assert turn.kind == "quick"

    async def test_it_ends_when_somebody_waits(self, autojump_clock: trio.testing.MockClock, nursery: trio.Nursery):
        room = Room(1, nursery)
        await room.enter("long", "a")
        async with room.turns.turn("quick") as turn:
            await room.enter("quick", "b")
            assert await self._ends(room.turns, turn)

    async def test_a_long_one_does_not_end(self, autojump_clock: trio.testing.MockClock, nursery: trio.Nursery):
        room = Room(1, nursery)
        async with room.turns.turn("long") as turn:
            await room.enter("quick", "a")
            await room.enter("quick", "b")
            assert not await self._ends(room.turns, turn)


def test_code_that_used_up_its_time_goes_to_the_long_queue():
    turns = Turns(1)
    assert turns.first("while True: pass") == "quick"
    turns.remember_slow("while True: pass")
    assert turns.first("while True: pass") == "long"
    assert turns.first("pass") == "quick"


@pytest.mark.parametrize("workers", [1, 2])
async def test_endless_programs_do_not_starve_a_short_one_behind_them(workers: int):
    done: list[str] = []

    async def run(name: str, job: Job) -> None:
        result: JobResult = await sandbox.run(job)
        done.append(name if result.error_class == "timeout" or all(passed(result)) else "?")

    async with ProcessSandbox(workers) as sandbox:
        await sandbox.check()
        async with trio.open_nursery() as nursery:
            for number in range(5):
                code = f"def f(x):\n    while True: {number}"
                nursery.start_soon(run, "endless", function_job(code, "assert f(1) == 2", limits=Limits(wall_s=0.8)))
                await wait_all_tasks_blocked()
            nursery.start_soon(run, "short", function_job("def f(x):\n    return 2", "assert f(1) == 2"))
    assert done.index("short") <= 1 + workers
    assert done.count("endless") == 5
