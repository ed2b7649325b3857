"""A role's endpoints as one: the least loaded is asked, another one when it fails."""

from collections.abc import Sequence
from random import Random

from endpoints.attempts import Seat, ask
from endpoints.client import Endpoint, EndpointStatistics, fixed
from protocols.errors import EndpointError
from protocols.ports import ChatAnswer, ChatRequest

__all__ = ["RolePool", "Seat", "fixed"]


class RolePool:
    """The port `Chat` for one role.

    Args:
        name: in records and logs.
        seats: the role's endpoints, each with what is asked for there; none where nobody will ask.
        random: source of the jitter of retries.
    """

    def __init__(self, name: str, seats: Sequence[Seat], *, random: Random) -> None:
        self._name = name
        self.seats = tuple(seats)
        self._random = random

    @classmethod
    def of(cls, name: str, endpoint: Endpoint, model: str, *, random: Random) -> "RolePool":
        """Return the pool of a single endpoint that always serves `model`."""
        return cls(name, [Seat(endpoint, fixed(model))], random=random)

    @property
    def name(self) -> str:
        """Name in records and logs."""
        return self._name

    async def chat(self, request: ChatRequest) -> ChatAnswer:
        """Ask the least loaded endpoint, and others after a failure.

        Raises:
            EndpointError: none answered within its tries (the last failure), or there is none.
        """
        if not self.seats:
            raise EndpointError(f"role {self._name} has no endpoint")

        async def attempt(seat: Seat) -> ChatAnswer:
            return await seat.endpoint.chat(request, seat.aim)

        return await ask(self.seats, attempt, self._random)

    def statistics(self) -> tuple[EndpointStatistics, ...]:
        """Return where each endpoint is now."""
        return tuple(seat.endpoint.statistics() for seat in self.seats)
