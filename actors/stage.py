"""A stage: receives items, handles up to `concurrency` of them at once, sends each on exactly once.

What a stage has in hand survives the stage: when a failure of its surroundings (an endpoint, the sandbox, the ledger)
ends `run`, the supervisor calls `run` again and the items in hand are handled first. A failure of the item's own
handling is tried `TRIES` times, then the item is quarantined and goes on as `Ended`.

A stage does not order its items, and it closes its outbox only when its inbox has ended and its hands are empty.
"""

from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

import msgspec
import structlog
import trio

from actors.failures import first, surroundings
from actors.messages import Ended, Item
from actors.quarantine import quarantine_record
from protocols.ports import Ledger

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

TRIES = 3
"""Handlings of one item before it is quarantined (architecture.md)."""

In = TypeVar("In", bound=Item)


class StageStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """What a stage is doing."""

    name: str
    waiting: int
    """Items in its inbox."""
    room: int
    """Capacity of its inbox."""
    in_hand: int
    concurrency: int
    done: int
    quarantined: int
    oldest_s: float
    """Age of the item that has been handled longest; 0 when none is."""
    held: int = 0
    """Items in hand that are handled and wait for room in the next inbox."""


class Stage(Generic[In]):
    """One stage of the pipeline.

    Args:
        name: the actor's name, for statistics, logs and quarantine.
        handle: does the stage's work on one item and returns what goes on. Called again for the same item after a
            restart of the run, so it looks for what it recorded before.
        inbox: where items come from; `Ended` is passed on unseen.
        outbox: where each item goes.
        ledger: where quarantined items are noted.
        concurrency: items in hand, at most.
        deadline_s: seconds that one handling may take.
    """

    def __init__(
        self,
        name: str,
        handle: Callable[[In], Awaitable[Item]],
        inbox: "trio.MemoryReceiveChannel[Item]",
        outbox: "trio.MemorySendChannel[Item]",
        ledger: Ledger,
        *,
        concurrency: int,
        deadline_s: float = 1800.0,
    ) -> None:
        self._name = name
        self._handle = handle
        self._inbox = inbox
        self._outbox = outbox
        self._ledger = ledger
        self._places = trio.Semaphore(concurrency)
        self._concurrency = concurrency
        self._deadline_s = deadline_s
        self._in_hand: dict[str, tuple[Item, float]] = {}
        self._held: set[str] = set()
        self._done = 0
        self._quarantined = 0

    def statistics(self) -> StageStatistics:
        """Return what the stage is doing now."""
        buffer = self._inbox.statistics()
        since = min((start for key, (_, start) in self._in_hand.items() if key not in self._held), default=None)
        return StageStatistics(
            name=self._name,
            waiting=buffer.current_buffer_used,
            room=int(buffer.max_buffer_size),
            in_hand=len(self._in_hand),
            concurrency=self._concurrency,
            done=self._done,
            quarantined=self._quarantined,
            oldest_s=trio.current_time() - since if since is not None else 0.0,
            held=len(self._held),
        )

    async def run(self) -> None:
        """Handle items until the inbox ends, then close the outbox.

        Raises:
            RefineError: a part of the surroundings failed; the items in hand are kept for the next call.
        """
        self._places = trio.Semaphore(self._concurrency)
        async with trio.open_nursery() as nursery:
            for key in tuple(self._in_hand):
                await self._places.acquire()
                nursery.start_soon(self._finish, key)
            while True:
                await self._places.acquire()
                try:
                    item = await self._inbox.receive()
                except trio.EndOfChannel:
                    break
                key = f"{item.round}/{item.task.id}"
                self._in_hand[key] = (item, trio.current_time())
                nursery.start_soon(self._finish, key)
        await self._outbox.aclose()

    async def _finish(self, key: str) -> None:
        try:
            item, _ = self._in_hand[key]
            result = item if isinstance(item, Ended) else await self._try_to_handle(item)
            self._held.add(key)
            await self._outbox.send(result)
            del self._in_hand[key]
            self._done += 1
        finally:
            self._held.discard(key)
            self._places.release()

    async def _try_to_handle(self, item: Item) -> Item:
        for attempt in range(1, TRIES + 1):
            try:
                with trio.fail_after(self._deadline_s):
                    return await self._handle(item)  # pyright: ignore[reportArgumentType] - joined by type in pipeline
            except Exception as error:
                if surroundings(error):
                    raise  # the surroundings' fault, not the item's: the supervisor decides
                log.warning(
                    "handling_failed", stage=self._name, task=item.task.id, attempt=attempt, error=repr(first(error))
                )
                failure = error
        return await self._quarantine(item, failure)  # pyright: ignore[reportPossiblyUnboundVariable]

    async def _quarantine(self, item: Item, error: Exception) -> Ended:
        self._quarantined += 1
        record = quarantine_record(self._name, item, error)
        await self._ledger.append(record)
        log.error("task_quarantined", stage=self._name, task=item.task.id, round=item.round, reason=record.reason)
        return Ended(task=item.task, round=item.round)
