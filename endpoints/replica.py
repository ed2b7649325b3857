"""One replica of the policy: an endpoint, its way of publishing, and which versions are on it now.

Invariants: a request for a version that is not on the replica is refused before it goes out; a version counts its
requests in flight, so that it is freed only when the last one is done; while it is not known what is loaded, nothing
counts as loaded.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager

import trio

from endpoints.attempts import Seat
from endpoints.client import Endpoint, Target
from endpoints.ways import HOLD, Way
from protocols.errors import EndpointError, EndpointRefused
from protocols.records import PolicyVersion

_TRIES = 3
_PAUSE_S = 1.0


class Replica:
    """One server that serves the policy.

    Args:
        endpoint: where it is.
        way: how versions get there.
        loaded: the version that is on it now.
    """

    def __init__(self, endpoint: Endpoint, way: Way, loaded: PolicyVersion) -> None:
        self.endpoint = endpoint
        self._way = way
        self._loaded = {loaded.number: loaded}
        self._in_flight: Counter[int] = Counter()
        self._done = trio.Event()

    def seat(self, choose: Callable[[], PolicyVersion]) -> Seat:
        """Return the seat whose tries ask for the version that `choose` names as they go out."""

        @contextmanager
        def aim() -> Generator[Target]:
            version = choose()
            if not self.has(version):
                raise EndpointRefused(f"version {version.name} is not on {self.endpoint.name}")
            self._in_flight[version.number] += 1
            try:
                yield Target(self._way.model_name(version), version.number)
            finally:
                self._in_flight[version.number] -= 1
                self._tell()

        return Seat(self.endpoint, aim)

    @property
    def known(self) -> bool:
        """Whether it is known what it serves."""
        return bool(self._loaded)

    def has(self, version: PolicyVersion) -> bool:
        """Whether `version` is on it."""
        return version.number in self._loaded

    async def put(self, version: PolicyVersion) -> None:
        """Make it able to answer staged requests for `version`.

        Raises:
            EndpointError: it did not take it; `take_off` must follow.
        """
        if not self._way.keeps_others:
            self._loaded.clear()
        await _insist(lambda: self._way.put(self.endpoint, version))
        self._loaded[version.number] = version

    async def take_off(self, version: PolicyVersion, current: PolicyVersion) -> None:
        """Make it serve `current` as before, and let everybody in; if that fails, let nobody in.

        Raises:
            EndpointError: it is not known what it serves; its gate has failed until `restore`.
        """
        self._loaded.pop(version.number, None)
        try:
            await _insist(lambda: self._way.take_off(self.endpoint, version, current))
        except EndpointError as error:
            self.close(f"{self.endpoint.name} could not be put back to version {current.name}: {error}")
            raise
        self._loaded[current.number] = current
        self.open()

    async def restore(self, current: PolicyVersion) -> None:
        """Put `current` on a server of which nothing is known, and let everybody in.

        Raises:
            EndpointError: it did not take it; its gate has failed.
        """
        self._loaded.clear()
        try:
            await _insist(lambda: self._way.put(self.endpoint, current))
        except EndpointError as error:
            self.close(f"{self.endpoint.name} did not take version {current.name}: {error}")
            raise
        self._loaded[current.number] = current
        self.open()

    async def retire(self, keep: frozenset[int]) -> None:
        """Free every version but those in `keep` when its last request is done; the deadline is the caller's.

        Raises:
            EndpointError: it did not answer; a later call tries again.
        """
        for version in [version for number, version in self._loaded.items() if number not in keep]:
            while self._in_flight[version.number]:
                await self._done.wait()
            await self._way.retire(self.endpoint, version)
            self._loaded.pop(version.number, None)

    def open(self) -> None:
        """Let everybody in."""
        self.endpoint.gate.release(HOLD)

    def close(self, reason: str) -> None:
        """Let nobody in until `restore`: what it serves is not known."""
        self._loaded.clear()
        self.endpoint.gate.fail(HOLD, reason)

    def _tell(self) -> None:
        self._done.set()
        self._done = trio.Event()


async def _insist(act: Callable[[], Awaitable[None]]) -> None:
    """Do it, again after a failure that may pass."""
    for _ in range(_TRIES - 1):
        try:
            return await act()
        except EndpointRefused:
            raise
        except EndpointError:
            await trio.sleep(_PAUSE_S)
    return await act()
