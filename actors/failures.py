"""What an exception that left an actor's work means: whose fault it is, and whether a restart can mend it."""

from collections.abc import Iterator
from typing import cast

from protocols.errors import EndpointRefused, RefineError, RunPaused, UsageError

FATAL = (RunPaused, UsageError)
"""Errors that no restart mends."""


def leaves(error: BaseException) -> Iterator[BaseException]:
    """Yield the exceptions inside nested groups, or `error` itself."""
    if isinstance(error, BaseExceptionGroup):
        for inner in cast(BaseExceptionGroup[BaseException], error).exceptions:
            yield from leaves(inner)
    else:
        yield error


def fatal(error: BaseException) -> BaseException | None:
    """Return the first exception within `error` that must stop the run, or None."""
    return next((leaf for leaf in leaves(error) if isinstance(leaf, FATAL) or not isinstance(leaf, Exception)), None)


def first(error: BaseException) -> BaseException:
    """Return the first leaf: the exception to show."""
    return next(leaves(error))


def surroundings(error: BaseException) -> bool:
    """Whether a part around the actor failed (an endpoint, the sandbox, the ledger), not the item in hand.

    An endpoint that refuses a request as wrong has judged the item.
    """
    return any(isinstance(leaf, RefineError) and not isinstance(leaf, EndpointRefused) for leaf in leaves(error))
