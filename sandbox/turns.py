"""Who may run next: a queue of endless programs must not keep short ones waiting.

The rule. Every job first gets a *quick* place, in order of arrival: there are `workers` of them, less the long jobs
that run, and always one. A job that has had it for `QUICK_S` becomes a *long* one where it is, if fewer than `workers`
are. If not, it runs on until somebody waits for a quick place; then it is stopped and goes to the end of the queue for
long ones, with what it has already finished. From there a job starts when fewer than `workers` long ones run, and
either none does or nobody waits for a quick place. Code that has used up its time before is expected to do so again
and goes to that queue at once.

So at most one place more than `workers` is taken, neither kind ever waits for the other, and nothing is done twice
unless somebody waits, and then `QUICK_S` a job at most.
"""

from collections import OrderedDict, deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Literal

import trio

QUICK_S = 0.25
"""Seconds after which a job is no quick one."""
_REMEMBERED = 4096

Kind = Literal["quick", "long"]


class Turn:
    """A place that somebody has."""

    def __init__(self, kind: Kind) -> None:
        self.kind: Kind = kind


class Turns:
    """Hands out places.

    Args:
        workers: jobs that run at the same time.
    """

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._running: dict[Kind, int] = {"quick": 0, "long": 0}
        self._waiting: dict[Kind, deque[trio.Event]] = {"quick": deque(), "long": deque()}
        self._changed = trio.Event()
        self._slow: OrderedDict[int, None] = OrderedDict()

    @property
    def waiting(self) -> int:
        """Jobs that wait for a place."""
        return sum(map(len, self._waiting.values()))

    @asynccontextmanager
    async def turn(self, kind: Kind) -> AsyncGenerator[Turn]:
        """Wait for a place of this kind and hold it."""
        await self._wait(kind)
        turn = Turn(kind)
        try:
            yield turn
        finally:
            self._running[turn.kind] -= 1
            self._admit()

    async def _wait(self, kind: Kind) -> None:
        event = trio.Event()
        self._waiting[kind].append(event)
        self._admit()
        try:
            await event.wait()
        except BaseException:
            if event.is_set():
                self._running[kind] -= 1
            else:
                self._waiting[kind].remove(event)
            self._admit()
            raise

    async def end_of(self, turn: Turn) -> None:
        """Return when whoever holds `turn` must give it up; that is never so for a long one."""
        if turn.kind == "quick":
            await trio.sleep(QUICK_S)
        while turn.kind == "quick":
            if self._running["long"] < self._workers:
                self._lengthen(turn)
            elif self._waiting["quick"]:
                return
            else:
                await self._changed.wait()
        await trio.sleep_forever()

    def _lengthen(self, turn: Turn) -> None:
        self._running["quick"] -= 1
        self._running["long"] += 1
        turn.kind = "long"
        self._admit()

    def _admit(self) -> None:
        while (kind := self._next()) is not None:
            self._running[kind] += 1
            self._waiting[kind].popleft().set()
        self._changed.set()
        self._changed = trio.Event()

    def _next(self) -> Kind | None:
        quick, long = self._running["quick"], self._running["long"]
        if self._waiting["quick"] and quick < max(1, self._workers - long):
            return "quick"
        if self._waiting["long"] and long < self._workers and (long == 0 or not self._waiting["quick"]):
            return "long"
        return None

    def first(self, code: str) -> Kind:
        """Return the kind of place that `code` should wait for."""
        return "long" if hash(code) in self._slow else "quick"

    def remember_slow(self, code: str) -> None:
        """Note that `code` has used up its time."""
        self._slow[hash(code)] = None
        self._slow.move_to_end(hash(code))
        if len(self._slow) > _REMEMBERED:
            self._slow.popitem(last=False)
