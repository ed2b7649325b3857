"""Reading a journal from outside the run: status, reports, dashboard.

Synchronous and read-only; each call opens the file, sees one moment of it and closes it again. Possible at any time,
also while a run is writing. Not for the event loop: call it from a thread there.

Every function raises LedgerError when the file is no journal of this version or a record cannot be read.
"""

from collections.abc import Generator
from pathlib import Path
from typing import Generic, Literal, NamedTuple

from ledger.connection import reading
from protocols.codec import decode
from protocols.ports import RecordType
from protocols.records import LedgerRecord


class Entry(NamedTuple, Generic[RecordType]):
    """One record with its place in the journal."""

    sequence: int
    """Rises with every record; never reused."""
    at: float
    """Unix time in seconds at which it was handed to the ledger."""
    record: RecordType


class Span(NamedTuple):
    """What the journal holds of one kind."""

    records: int
    first_sequence: int
    last_sequence: int
    first_at: float
    """Unix time in seconds."""
    last_at: float


class Open(NamedTuple, Generic[RecordType]):
    """Records that wait for what comes of them."""

    waiting: int
    oldest: Entry[RecordType] | None
    """None when none waits."""


Match = Literal["task", "id"]
"""How a record is told from what came of it: by task and round, or by an equal id."""

_SAME: dict[Match, str] = {
    "task": "closed.task_id = made.task_id AND closed.round = made.round",
    "id": "closed.id = made.id",
}


def read_records(path: Path, kind: type[RecordType], *, after: int = 0) -> list[RecordType]:
    """Return the records of `kind` in the order in which they were appended, those beyond sequence `after`."""
    return [entry.record for entry in read_entries(path, kind, after=after)]


def read_entries(path: Path, kind: type[RecordType], *, after: int = 0) -> list[Entry[RecordType]]:
    """Return what `read_records` does, each with its place in the journal."""
    question = "SELECT sequence, at, body FROM records WHERE kind = ? AND sequence > ? ORDER BY sequence"
    with reading(path) as connection:
        rows = connection.execute(question, (kind.__name__, after)).fetchall()
    return [Entry(sequence, at, decode(body)) for sequence, at, body in rows]  # pyright: ignore[reportReturnType]


def stream_entries(path: Path, *, after: int = 0) -> Generator[Entry[LedgerRecord]]:
    """Give every entry beyond sequence `after`, in order, as of the moment of the first; one is in memory at a time."""
    with reading(path) as connection:
        cursor = connection.execute(
            "SELECT sequence, at, body FROM records WHERE sequence > ? ORDER BY sequence", (after,)
        )
        for sequence, at, body in cursor:
            yield Entry(sequence, at, decode(body))


def read_spans(path: Path) -> dict[str, Span]:
    """Return what the journal holds, by kind; kinds of which there is nothing are left out."""
    question = "SELECT kind, count(*), min(sequence), max(sequence), min(at), max(at) FROM records GROUP BY kind"
    with reading(path) as connection:
        return {kind: Span(*span) for kind, *span in connection.execute(question)}


def count_records(path: Path) -> dict[str, int]:
    """Return the number of records by kind; kinds of which there is nothing are left out."""
    with reading(path) as connection:
        return dict(connection.execute("SELECT kind, count(*) FROM records GROUP BY kind").fetchall())


def last_sequence(path: Path) -> int:
    """Return the sequence number of the newest record; 0 when there is none."""
    with reading(path) as connection:
        return connection.execute("SELECT coalesce(max(sequence), 0) FROM records").fetchone()[0]


def oldest_open(
    path: Path, made: type[RecordType], closed_by: type[LedgerRecord], *, match: Match = "task"
) -> Open[RecordType]:
    """Return how many records of kind `made` have nothing of kind `closed_by` yet, and the oldest of them.

    A stage's queue: `oldest_open(path, Generation, Decision)`; a job's: `oldest_open(path, Batch, TrainingReport,
    match="id")`.
    """
    condition = (
        "FROM records AS made WHERE made.kind = ? AND NOT EXISTS "
        f"(SELECT 1 FROM records AS closed WHERE closed.kind = ? AND {_SAME[match]})"
    )
    kinds = (made.__name__, closed_by.__name__)
    with reading(path) as connection:
        connection.execute("BEGIN")
        (count,) = connection.execute(f"SELECT count(*) {condition}", kinds).fetchone()
        first = connection.execute(f"SELECT sequence, at, body {condition} ORDER BY sequence LIMIT 1", kinds).fetchone()
    if first is None:
        return Open(count, None)
    sequence, at, body = first
    return Open(count, Entry(sequence, at, decode(body)))  # pyright: ignore[reportReturnType]
