"""A stage: everything that enters it leaves it exactly once."""

import random
from collections import Counter
from collections.abc import Awaitable, Callable

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.messages import Assignment, Ended, Generated, Item
from actors.stage import TRIES, Stage
from ledger.memory import MemoryLedger
from protocols.errors import EndpointBroken, EndpointRefused, SandboxError
from protocols.records import Quarantined
from tests.actors.parts import make_task

Handle = Callable[[Assignment], Awaitable[Item]]


class Bench:
    """A stage between two channels."""

    def __init__(self, handle: Handle, *, concurrency: int = 2, room: int = 100, deadline_s: float = 60.0) -> None:
        self.into, inbox = trio.open_memory_channel[Item](room)
        outbox, self.out = trio.open_memory_channel[Item](room)
        self.ledger = MemoryLedger()
        self.stage = Stage("tested", handle, inbox, outbox, self.ledger, concurrency=concurrency, deadline_s=deadline_s)

    async def send(self, *numbers: int, round: int = 0) -> None:
        for number in numbers:
            await self.into.send(Assignment(task=make_task(number), round=round))

    async def rest(self) -> list[Item]:
        return [item async for item in self.out]


def pass_on(item: Assignment) -> Generated:
    return Generated(task=item.task, round=item.round, candidates=())


def ids(items: list[Item]) -> list[str]:
    return sorted(item.task.id for item in items)


async def test_each_item_leaves_once_whatever_the_order(autojump_clock: trio.testing.MockClock) -> None:
    async def handle(item: Assignment) -> Item:
        await trio.sleep(10 - int(item.task.id[4:]))
        return pass_on(item)

    bench = Bench(handle, concurrency=4)
    await bench.send(*range(8))
    bench.into.close()
    await bench.stage.run()
    items = await bench.rest()
    assert ids(items) == sorted(f"task{number}" for number in range(8))
    assert [item.task.id for item in items] != ids(items)
    assert bench.stage.statistics().done == 8


async def test_no_more_than_its_concurrency_is_in_hand(autojump_clock: trio.testing.MockClock) -> None:
    most = 0

    async def handle(item: Assignment) -> Item:
        nonlocal most
        most = max(most, bench.stage.statistics().in_hand)
        await trio.sleep(1)
        return pass_on(item)

    bench = Bench(handle, concurrency=3)
    await bench.send(*range(10))
    bench.into.close()
    await bench.stage.run()
    assert most == 3


async def test_a_full_outbox_holds_the_inbox() -> None:
    async def handle(item: Assignment) -> Item:
        await trio.lowlevel.checkpoint()
        return pass_on(item)

    bench = Bench(handle, concurrency=2, room=1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.stage.run)
        with trio.fail_after(5):
            for number in range(4):  # one in the outbox, two in hand, one in the inbox
                await bench.send(number)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(trio.WouldBlock):
            bench.into.send_nowait(Assignment(task=make_task(9), round=0))
        assert await bench.out.receive()
        await trio.testing.wait_all_tasks_blocked()
        bench.into.send_nowait(Assignment(task=make_task(9), round=0))
        nursery.cancel_scope.cancel()


async def test_the_same_task_may_be_in_hand_for_two_rounds(autojump_clock: trio.testing.MockClock) -> None:
    async def handle(item: Assignment) -> Item:
        await trio.sleep(1)
        return pass_on(item)

    bench = Bench(handle, concurrency=4)
    await bench.send(1, round=0)
    await bench.send(1, round=1)
    bench.into.close()
    await bench.stage.run()
    assert sorted(item.round for item in await bench.rest()) == [0, 1]


async def test_what_ended_early_is_passed_on_unseen() -> None:
    async def handle(item: Assignment) -> Item:
        raise AssertionError("never called")

    bench = Bench(handle)
    ended = Ended(task=make_task(1), round=0)
    await bench.into.send(ended)
    bench.into.close()
    await bench.stage.run()
    assert await bench.rest() == [ended]


@pytest.mark.parametrize("error", [ValueError("odd"), EndpointRefused("too long"), ExceptionGroup("", [KeyError("x")])])
async def test_an_item_that_fails_three_times_is_quarantined_and_goes_on_as_ended(error: Exception) -> None:
    tries = Counter[str]()

    async def handle(item: Assignment) -> Item:
        await trio.lowlevel.checkpoint()
        tries[item.task.id] += 1
        if item.task.id == "task1":
            raise error
        return pass_on(item)

    bench = Bench(handle)
    await bench.send(1, 2)
    bench.into.close()
    await bench.stage.run()
    assert {item.task.id: type(item) for item in await bench.rest()} == {"task1": Ended, "task2": Generated}
    assert tries == {"task1": TRIES, "task2": 1}
    (record,) = await bench.ledger.find(Quarantined)
    assert (record.stage, record.task_id, record.round) == ("tested", "task1", 0)
    assert record.traceback
    assert bench.stage.statistics().quarantined == 1


async def test_an_item_that_recovers_within_its_tries_is_not_quarantined() -> None:
    left = [ValueError("once"), ValueError("twice")]

    async def handle(item: Assignment) -> Item:
        await trio.lowlevel.checkpoint()
        if left:
            raise left.pop()
        return pass_on(item)

    bench = Bench(handle)
    await bench.send(1)
    bench.into.close()
    await bench.stage.run()
    assert [type(item) for item in await bench.rest()] == [Generated]
    assert await bench.ledger.find(Quarantined) == ()


@pytest.mark.parametrize(
    "error",
    [EndpointBroken("down"), SandboxError("gone"), ExceptionGroup("", [ExceptionGroup("", [EndpointBroken("down")])])],
)
async def test_failing_surroundings_end_the_run_and_the_items_in_hand_are_handled_at_the_next(error: Exception) -> None:
    down = True

    async def handle(item: Assignment) -> Item:
        await trio.lowlevel.checkpoint()
        if down:
            raise error
        return pass_on(item)

    bench = Bench(handle, concurrency=2)
    await bench.send(1, 2, 3)
    bench.into.close()
    with pytest.raises(ExceptionGroup):
        await bench.stage.run()
    assert bench.stage.statistics().in_hand >= 1
    down = False
    with trio.fail_after(5):
        await bench.stage.run()
    assert ids(await bench.rest()) == ["task1", "task2", "task3"]
    assert await bench.ledger.find(Quarantined) == ()


async def test_a_handling_that_takes_too_long_counts_as_a_failure(autojump_clock: trio.testing.MockClock) -> None:
    async def handle(item: Assignment) -> Item:
        await trio.sleep_forever()
        raise AssertionError

    bench = Bench(handle, deadline_s=7.0)
    await bench.send(1)
    bench.into.close()
    began = trio.current_time()
    await bench.stage.run()
    assert trio.current_time() - began == pytest.approx(TRIES * 7.0)
    assert [type(item) for item in await bench.rest()] == [Ended]
    (record,) = await bench.ledger.find(Quarantined)
    assert "TooSlowError" in record.reason


async def test_statistics_tell_what_waits_and_for_how_long(autojump_clock: trio.testing.MockClock) -> None:
    async def handle(item: Assignment) -> Item:
        await trio.sleep(10)
        return pass_on(item)

    bench = Bench(handle, concurrency=1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.stage.run)
        await bench.send(1, 2, 3)
        await trio.sleep(4)
        seen = bench.stage.statistics()
        nursery.cancel_scope.cancel()
    assert (seen.name, seen.waiting, seen.room, seen.in_hand, seen.concurrency) == ("tested", 2, 100, 1, 1)
    assert seen.oldest_s == pytest.approx(4)


async def test_what_is_handled_and_finds_no_room_is_held_and_grows_no_older(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def handle(item: Assignment) -> Item:
        await trio.sleep(10)
        return pass_on(item)

    bench = Bench(handle, concurrency=2, room=0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.stage.run)
        await bench.send(1, 2)
        await trio.sleep(15)
        full = bench.stage.statistics()
        await bench.out.receive()
        await trio.sleep(1)
        emptier = bench.stage.statistics()
        nursery.cancel_scope.cancel()
    assert (full.in_hand, full.held, full.oldest_s) == (2, 2, 0.0)
    assert (emptier.in_hand, emptier.held) == (1, 1)


class Trial:
    """A stage whose handlings fail as planned, fed at once and drained slowly, started again after every failure."""

    def __init__(self, plans: list[list[str]], concurrency: int, room: int) -> None:
        self._left = {f"task{number}": list(plan) for number, plan in enumerate(plans)}
        self._bench = Bench(self._handle, concurrency=concurrency, room=room, deadline_s=50)
        self.seen: list[str] = []

    async def run(self) -> None:
        with trio.fail_after(100_000):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._feed)
                nursery.start_soon(self._drain)
                nursery.start_soon(self._run_again_and_again)

    async def _handle(self, item: Assignment) -> Item:
        await trio.sleep(random.Random(item.task.id).random())
        fates = self._left[item.task.id]
        match fates.pop(0) if fates else "ok":
            case "item":
                raise ValueError("odd")
            case "around":
                raise EndpointBroken("down")
            case "slow":
                await trio.sleep(100)
            case _:
                pass
        return pass_on(item)

    async def _feed(self) -> None:
        await self._bench.send(*range(len(self._left)))
        self._bench.into.close()

    async def _drain(self) -> None:
        async for item in self._bench.out:
            self.seen.append(item.task.id)
            await trio.sleep(0.3)

    async def _run_again_and_again(self) -> None:
        while True:
            try:
                return await self._bench.stage.run()
            except ExceptionGroup:
                await trio.sleep(0.1)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.lists(st.sampled_from(["ok", "item", "around", "slow"]), max_size=5), max_size=8),
    st.integers(1, 4),
    st.integers(1, 3),
)
def test_everything_dispatched_ends_exactly_once(plans: list[list[str]], concurrency: int, room: int) -> None:
    async def main() -> list[str]:
        trial = Trial(plans, concurrency, room)
        await trial.run()
        return trial.seen

    seen = trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    assert sorted(seen) == sorted(f"task{number}" for number in range(len(plans)))
