"""Who may run next: a queue of endless programs must not keep short ones waiting.

The rule. Every job first gets a *quick* turn, in order of arrival. One that is not done after `QUICK_S` gives it up and
goes to the end of the queue for *long* turns, with what it has already finished. A long job starts when fewer than
`workers` run, and either no long one does or no quick one waits; a quick job starts when fewer than `workers` minus the
running long ones run, and one may always run. So of `workers` places one more than all may be taken, neither kind ever
waits for the other, and the work that was given up and is done again costs at most `QUICK_S` a job. Code that has used
up its time before is expected to do so again: it goes to the long queue at once.
"""

from collections import OrderedDict, deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Literal

import trio

QUICK_S = 0.25
"""Seconds of a quick turn."""
_REMEMBERED = 4096

Kind = Literal["quick", "long"]


class Turns:
    """Hands out turns.

    Args:
        workers: jobs that run at the same time.
    """

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._running: dict[Kind, int] = {"quick": 0, "long": 0}
        self._waiting: dict[Kind, deque[trio.Event]] = {"quick": deque(), "long": deque()}
        self._slow: OrderedDict[int, None] = OrderedDict()

    @property
    def waiting(self) -> int:
        """Jobs that wait for a turn."""
        return sum(map(len, self._waiting.values()))

    @asynccontextmanager
    async def turn(self, kind: Kind) -> AsyncGenerator[None]:
        """Wait for a turn and hold it."""
        await self._wait(kind)
        try:
            yield
        finally:
            self._running[kind] -= 1
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

    def _admit(self) -> None:
        while (kind := self._next()) is not None:
            self._running[kind] += 1
            self._waiting[kind].popleft().set()

    def _next(self) -> Kind | None:
        quick, long = self._running["quick"], self._running["long"]
        if self._waiting["quick"] and quick < max(1, self._workers - long):
            return "quick"
        if self._waiting["long"] and long < self._workers and (long == 0 or not self._waiting["quick"]):
            return "long"
        return None

    def first(self, code: str) -> Kind:
        """Return the kind of turn that `code` should wait for."""
        return "long" if hash(code) in self._slow else "quick"

    def remember_slow(self, code: str) -> None:
        """Note that `code` has used up its time."""
        self._slow[hash(code)] = None
        self._slow.move_to_end(hash(code))
        if len(self._slow) > _REMEMBERED:
            self._slow.popitem(last=False)
