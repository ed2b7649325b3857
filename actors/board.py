"""The board on which the Publisher notes settled rounds and for which the round planner waits."""

import trio


class RoundBoard:
    """Which rounds are settled: all their tasks ended, their batches trained and published or refused.

    Args:
        settled: number of rounds settled before, counted from round 0.
    """

    def __init__(self, settled: int = 0) -> None:
        self._settled = settled
        self._changed = trio.Event()

    @property
    def settled(self) -> int:
        """Number of settled rounds, counted from round 0."""
        return self._settled

    def settle(self, round: int) -> None:
        """Note that `round` and all before it are settled, and wake those that wait for it."""
        self._settled = max(self._settled, round + 1)
        self._changed.set()
        self._changed = trio.Event()

    async def wait_settled(self, rounds: int) -> None:
        """Return when at least `rounds` rounds are settled."""
        while self._settled < rounds:
            await self._changed.wait()
