"""The plan and the end of a round, and what came to grief in it."""

from protocols.records.record import Record


class Round(Record, frozen=True, kw_only=True):
    """The plan of one round. Made by the Generator."""

    id: str
    number: int
    task_ids: tuple[str, ...]


class RoundSettled(Record, frozen=True, kw_only=True):
    """A round whose tasks have all ended and whose batches are all trained and published or refused."""

    id: str
    number: int
    version: int
    """Policy version after it."""
    seconds: float


class Quarantined(Record, frozen=True, kw_only=True):
    """A record whose handling failed three times, or an adapter's batch that was refused."""

    id: str
    stage: str
    subject_id: str
    task_id: str | None
    round: int
    reason: str
    traceback: str
