"""The gate of one endpoint: how many requests are inside, and whether more may go in.

Invariants: never more than `capacity` requests inside; while there is a hold, nobody goes in except staged requests
past holds that let them; an interrupted request goes out and comes in again by itself, as if it had never been asked.
It knows nothing of HTTP, and does not decide who holds it or for how long: each hold has a name and an owner.
"""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio

from protocols.errors import EndpointUnreachable

Result = TypeVar("Result")


class Gate:
    """Counts, holds and interrupts requests.

    Args:
        capacity: requests inside at once, at most.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._slots = trio.Semaphore(capacity)
        self._holds: dict[str, bool] = {}
        self._failures: dict[str, str] = {}
        self._inside: dict[trio.CancelScope, bool] = {}
        self._changed = trio.Event()
        self.waiting = 0
        self.interrupted = 0

    @property
    def inside(self) -> int:
        """Requests inside now."""
        return len(self._inside)

    @property
    def held(self) -> bool:
        """Whether ordinary requests must wait outside."""
        return bool(self._holds)

    def hold(self, name: str, *, staged_pass: bool = False) -> None:
        """Let nobody in from now on, until `release(name)`.

        Args:
            name: of the hold; the same name again replaces it.
            staged_pass: staged requests go past this hold.
        """
        self._holds[name] = staged_pass
        self._tell()

    def fail(self, name: str, reason: str) -> None:
        """Turn hold `name` into a failure: who waits, or comes, gets `EndpointUnreachable(reason)`."""
        self._failures[name] = reason
        self._tell()

    def release(self, name: str) -> None:
        """End hold or failure `name`; nothing happens when there is none."""
        self._holds.pop(name, None)
        self._failures.pop(name, None)
        self._tell()

    def interrupt(self, *, staged_too: bool = False) -> None:
        """Take requests out; they wait outside and are asked again, as if they had never been inside."""
        for scope, staged in self._inside.items():
            if staged_too or not staged:
                scope.cancel()

    async def drained(self, *, staged_too: bool = False) -> None:
        """Wait until no ordinary request (with `staged_too`: none at all) is inside. The deadline is the caller's."""
        await trio.lowlevel.checkpoint()
        while any(staged_too or not staged for staged in self._inside.values()):
            await self._changed.wait()

    async def run(self, attempt: Callable[[], Awaitable[Result]], *, staged: bool = False) -> Result:
        """Go in, run `attempt`, go out; after an interruption, again from the beginning.

        Raises:
            EndpointUnreachable: the gate failed.
        """
        while True:
            await self._enter(staged)
            scope = trio.CancelScope()
            self._inside[scope] = staged
            try:
                with scope:
                    return await attempt()
            finally:
                self._leave(scope)
            self.interrupted += 1

    async def _enter(self, staged: bool) -> None:
        self.waiting += 1
        try:
            while True:
                await self._open_for(staged)
                await self._slots.acquire()
                if self._passes(staged):
                    return
                self._slots.release()
        finally:
            self.waiting -= 1

    def _leave(self, scope: trio.CancelScope) -> None:
        del self._inside[scope]
        self._slots.release()
        self._tell()

    async def _open_for(self, staged: bool) -> None:
        while not self._passes(staged):
            await self._changed.wait()

    def _passes(self, staged: bool) -> bool:
        for reason in self._failures.values():
            raise EndpointUnreachable(reason)
        return all(staged and staged_pass for staged_pass in self._holds.values())

    def _tell(self) -> None:
        self._changed.set()
        self._changed = trio.Event()
