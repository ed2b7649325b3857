"""The seam for what decides when a request may go out: rate limits, a run-wide budget, circuit breakers.

Every try of every request passes its endpoint's `Admission` once, just before it is sent, with what it may cost at
most; when it ends it settles what it did cost. `Unlimited` lets everything through.
"""

from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Protocol

from endpoints.wire import Usage


class Permit(Protocol):
    """Leave for one try."""

    def settle(self, usage: Usage) -> None:
        """Tell what the try did cost. Not called for a try that failed: the permit's exit sees its exception."""
        ...


class Admission(Protocol):
    """Lets tries out, each when it may."""

    def admit(self, at_most: Usage) -> AbstractAsyncContextManager[Permit]:
        """Wait until one try that costs `at_most` may go out; leaving the block, with or without an exception, ends it.

        Raises:
            EndpointError: it may not go out now, and waiting would not help.
            RunPaused: it may not go out in this run at all.
        """
        ...


class Unlimited:
    """Lets every try out at once."""

    def admit(self, at_most: Usage) -> AbstractAsyncContextManager[Permit]:
        """Return a permit."""
        return _Free()


class _Free:
    async def __aenter__(self) -> Permit:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def settle(self, usage: Usage) -> None:
        return None
