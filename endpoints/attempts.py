"""Trying again, over one endpoint or several: who is asked next, and after how long.

Invariants: an endpoint is tried at most `tries` times for one request; one that refused it is not tried again; one
that asked for a pause is left alone for that long; nobody waits while another endpoint is ready. Pauses have full
jitter, from a generator that is handed in.
"""

from collections.abc import Awaitable, Callable, Sequence
from random import Random
from typing import TypeVar

import trio

from endpoints.client import Aim, Endpoint
from protocols.errors import EndpointBroken, EndpointError, EndpointOverloaded, EndpointRefused

Result = TypeVar("Result")

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 20.0
LONGEST_RETRY_AFTER_S = 300.0
"""An endpoint that asks for a longer pause counts as failed."""


class Seat:
    """One endpoint that may be asked, and what is asked for there.

    Args:
        endpoint: the endpoint.
        aim: model and version, decided anew for every try.
    """

    def __init__(self, endpoint: Endpoint, aim: Aim) -> None:
        self.endpoint = endpoint
        self.aim = aim


class _Course:
    """How one request fares at one seat."""

    def __init__(self, seat: Seat) -> None:
        self.seat = seat
        self.tries_left = seat.endpoint.tries
        self.ready_at = -float("inf")
        self._failures = 0

    def rank(self) -> tuple[float, bool, float]:
        return (max(self.ready_at, trio.current_time()), self.seat.endpoint.ailing, self.seat.endpoint.load)

    def failed(self, error: EndpointError, random: Random) -> None:
        asked_for = error.retry_after_s if isinstance(error, EndpointOverloaded) else None
        if isinstance(error, EndpointRefused) or (asked_for or 0.0) > LONGEST_RETRY_AFTER_S:
            self.tries_left = 0
            return
        self.tries_left -= 1
        self.ready_at = trio.current_time() + pause_s(self._failures, asked_for, random)
        self._failures += 1


def pause_s(failures: int, retry_after_s: float | None, random: Random) -> float:
    """Return the pause before the next try, in seconds.

    Args:
        failures: earlier ones of this request at this endpoint.
        retry_after_s: what the endpoint asked for: never tried before it is over.
        random: source of the jitter.
    """
    longest = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(failures, 16))
    return (retry_after_s or 0.0) + random.uniform(0.0, longest)


async def ask(seats: Sequence[Seat], attempt: Callable[[Seat], Awaitable[Result]], random: Random) -> Result:
    """Return what the first seat that answers gives: least loaded first, another one after a failure.

    Raises:
        EndpointError: the last failure, when no seat has tries left.
        EndpointBroken: there is no seat.
    """
    courses: list[_Course] = [_Course(seat) for seat in seats]
    last: EndpointError = EndpointBroken("no endpoint serves what is asked for")
    while courses:
        course = min(courses, key=_Course.rank)
        await trio.sleep_until(course.ready_at)
        try:
            return await attempt(course.seat)
        except EndpointError as error:
            last = error
            course.failed(error, random)
        courses = [other for other in courses if other.tries_left > 0]
    raise last
