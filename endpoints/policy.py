"""The served policy: one pointer to the current version, over one or more replicas.

Invariants: a version is on every replica or on none; the pointer moves only in `promote`, and only to a version that
is on every replica; no answer mixes two versions; whatever fails or is cancelled, the replicas end up on the current
version, or, where that cannot be had, let nobody in.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from random import Random

import trio

from endpoints.attempts import Seat, ask
from endpoints.client import Endpoint, EndpointStatistics
from endpoints.replica import Replica
from endpoints.ways import Way
from protocols.errors import EndpointBroken, EndpointError, PublishError
from protocols.ports import ChatAnswer, ChatRequest
from protocols.records import PolicyVersion

_AGREEMENT = 0.1
"""Mean absolute difference of log-probabilities between replicas of the same weights, at most. Measured: rounding
gives 0.04, other weights 0.26."""
_RECOVERY_S = 300.0
"""For bringing every replica back, which cancellation must not cut short."""

LogProbabilities = tuple[tuple[float, ...], ...]


class ServedPolicy:
    """The port `Policy`.

    Args:
        current: version that the replicas serve, or will after `restore`.
        replicas: endpoints with their way of publishing; at least one.
        random: source of the jitter of retries.
        drain_s: how long `promote` waits for the last request of the version before, so as to unload it.
    """

    def __init__(
        self,
        current: PolicyVersion,
        replicas: Sequence[tuple[Endpoint, Way]],
        *,
        random: Random,
        drain_s: float = 120.0,
    ) -> None:
        if not replicas:
            raise ValueError("the policy needs at least one replica")
        self._current = current
        self._staged: PolicyVersion | None = None
        self._replicas = tuple(Replica(endpoint, way, current) for endpoint, way in replicas)
        self._seats = tuple(replica.seat(lambda: self._current) for replica in self._replicas)
        self._random = random
        self._drain_s = drain_s
        self._lock = trio.Lock()

    @property
    def current(self) -> PolicyVersion:
        """Version that new requests use."""
        return self._current

    def seats(self) -> tuple[Seat, ...]:
        """Return the replicas as seats of another role, which then follows the current version too."""
        return self._seats

    async def chat(self, request: ChatRequest, *, staged: PolicyVersion | None = None) -> ChatAnswer:
        """Ask the current version, or `staged` while it is on trial.

        Raises:
            EndpointError: no replica answered within its tries; the last failure.
        """

        async def attempt(seat: Seat) -> ChatAnswer:
            return await seat.endpoint.chat(request, seat.aim, staged=staged is not None)

        return await ask(self._seats_for(staged), attempt, self._random)

    async def log_probabilities(
        self, token_ids: Sequence[Sequence[int]], *, staged: PolicyVersion | None = None
    ) -> LogProbabilities:
        """Return, for each prompt, the served log-probability of token i + 1 given tokens 0..i.

        A staged version is asked on every replica, since each must be proven.

        Raises:
            EndpointError: as `chat`; replicas that do not agree are `EndpointBroken`.
        """

        async def attempt(seat: Seat) -> LogProbabilities:
            return await seat.endpoint.log_probabilities(token_ids, seat.aim, staged=staged is not None)

        if staged is None:
            return await ask(self._seats, attempt, self._random)
        first, *others = [await ask([seat], attempt, self._random) for seat in self._seats_for(staged)]
        for other in others:
            _require_agreement(first, other)
        return first

    async def stage(self, version: PolicyVersion) -> None:
        """Put `version` on every replica or on none, without moving the pointer.

        With `in_place` publishing, other requests wait from here until `promote` or `roll_back`. Cancelled, it brings
        the replicas back first.

        Raises:
            PublishError: some replica did not take it; all are back on the current version, or let nobody in.
        """
        async with self._lock:
            await self._heal()
            await self._retire()
            try:
                failures = await self._on_each(lambda replica: replica.put(version))
            except BaseException:
                await self._take_off(version)
                raise
            if failures:
                failures += await self._take_off(version)
                raise PublishError(f"version {version.name} is not published: {'; '.join(map(str, failures))}")
            self._staged = version

    async def promote(self, version: PolicyVersion) -> None:
        """Move the pointer to the staged `version`, then unload the one before when its last request is done.

        The pointer has moved before anything is waited for; what is not unloaded within `drain_s`, or is cancelled, is
        unloaded before the next version is staged.

        Raises:
            PublishError: `version` is not on every replica (any more); nothing has moved.
        """
        if not all(replica.has(version) for replica in self._replicas):
            raise PublishError(f"version {version.name} is not on every replica; it cannot become the current one")
        self._current, self._staged = version, None
        for replica in self._replicas:
            replica.open()
        async with self._lock:
            await self._retire()

    async def roll_back(self, version: PolicyVersion) -> None:
        """Take the staged `version` off every replica again; nothing happens when it is not staged.

        Raises:
            PublishError: the current version could not be put back on some replica, which lets nobody in.
        """
        async with self._lock:
            if self._staged is None:
                return
            failures = await self._take_off(version)
        if failures:
            raise PublishError(f"the current version could not be put back: {'; '.join(map(str, failures))}")

    async def restore(self, endpoint: Endpoint | None = None) -> None:
        """Put the current version on replicas of which nothing is known: at the start, or after a server's restart.

        Args:
            endpoint: the one replica; None for all.

        Raises:
            PublishError: a replica did not take it, and lets nobody in.
        """
        async with self._lock:
            concerned = [replica for replica in self._replicas if endpoint in (None, replica.endpoint)]
            failures = await self._on_each(lambda replica: replica.restore(self._current), concerned)
        if failures:
            raise PublishError(f"version {self._current.name} is not restored: {'; '.join(map(str, failures))}")

    @asynccontextmanager
    async def untouched(self) -> AsyncGenerator[None]:
        """Keep every version where it is: whoever would stage, promote or roll back waits until the block is left."""
        async with self._lock:
            yield

    def statistics(self) -> tuple[EndpointStatistics, ...]:
        """Return where each replica's endpoint is now."""
        return tuple(replica.endpoint.statistics() for replica in self._replicas)

    def _seats_for(self, staged: PolicyVersion | None) -> tuple[Seat, ...]:
        if staged is None:
            return self._seats
        version = staged
        return tuple(replica.seat(lambda: version) for replica in self._replicas)

    async def _heal(self) -> None:
        """Bring back replicas that let nobody in since something failed there."""
        lost = [replica for replica in self._replicas if not replica.known]
        if failures := await self._on_each(lambda replica: replica.restore(self._current), lost):
            raise PublishError(f"a replica is not to be had: {'; '.join(map(str, failures))}")

    async def _retire(self) -> None:
        """Free versions that nobody asks for any more, as far as that goes in time; the rest waits for a later call."""
        keep = frozenset({self._current.number})
        with trio.move_on_after(self._drain_s):
            await self._on_each(lambda replica: replica.retire(keep))

    async def _take_off(self, version: PolicyVersion) -> list[EndpointError]:
        """Bring every replica back, whatever happens around it; return the failures."""
        self._staged = None
        with trio.move_on_after(_RECOVERY_S, shield=True):
            return await self._on_each(lambda replica: replica.take_off(version, self._current))
        for replica in self._replicas:
            replica.close(f"{replica.endpoint.name} was not back on version {self._current.name} in time")
        return [EndpointBroken(f"the replicas were not brought back within {_RECOVERY_S:g} s")]

    async def _on_each(
        self, act: Callable[[Replica], Awaitable[None]], replicas: Sequence[Replica] | None = None
    ) -> list[EndpointError]:
        """Do one thing on every replica at once; return what failed."""
        failures: list[EndpointError] = []

        async def one(replica: Replica) -> None:
            try:
                await act(replica)
            except EndpointError as error:
                failures.append(error)

        async with trio.open_nursery() as nursery:
            for replica in self._replicas if replicas is None else replicas:
                nursery.start_soon(one, replica)
        return failures


def _require_agreement(first: LogProbabilities, other: LogProbabilities) -> None:
    differences = [
        abs(a - b) for left, right in zip(first, other, strict=True) for a, b in zip(left, right, strict=True)
    ]
    if differences and sum(differences) / len(differences) > _AGREEMENT:
        raise EndpointBroken("replicas of the same version do not agree on its log-probabilities")
