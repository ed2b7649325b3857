"""What an exception that left an actor means: stop the run, or start the actor again."""

from collections.abc import Iterator

from protocols.errors import RunPaused, UsageError

FATAL = (RunPaused, UsageError)
"""Errors that no restart mends."""


def leaves(error: BaseException) -> Iterator[BaseException]:
    """Yield the exceptions inside nested groups, or `error` itself."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
            yield from leaves(inner)  # pyright: ignore[reportUnknownArgumentType]
    else:
        yield error


def fatal(error: BaseException) -> BaseException | None:
    """Return the first exception within `error` that must stop the run, or None."""
    return next((leaf for leaf in leaves(error) if isinstance(leaf, FATAL) or not isinstance(leaf, Exception)), None)


def first(error: BaseException) -> BaseException:
    """Return the first leaf: the exception to show."""
    return next(leaves(error))
