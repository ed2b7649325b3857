"""A journal in memory: the port `Ledger` without a disk, for tests and trials.

Keeps the same contract as `ledger.sqlite`, except that nothing outlives it. Every method is a checkpoint.
"""

import time
from collections.abc import Callable

import trio

from ledger.row import Row, check_fields, given, make_row
from protocols.codec import decode
from protocols.ports import RecordType
from protocols.records import LedgerRecord


class MemoryLedger:
    """The port `Ledger` in memory.

    Args:
        clock: gives the Unix time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._rows: dict[tuple[str, str], Row] = {}

    async def append(self, *records: LedgerRecord) -> None:
        """Keep `records`, all of them or none; an id that is there already is left as it is.

        Raises:
            LedgerError: one of them could not be read back.
        """
        await trio.lowlevel.checkpoint()
        at = self._clock()
        for row in [make_row(record, at) for record in records]:
            self._rows.setdefault((row.kind, row.id), row)

    async def get(self, kind: type[RecordType], id: str) -> RecordType | None:
        """Return one record, or None."""
        await trio.lowlevel.checkpoint()
        row = self._rows.get((kind.__name__, id))
        return decode(row.body) if row else None  # pyright: ignore[reportReturnType]  (the row's kind says so)

    async def find(
        self,
        kind: type[RecordType],
        *,
        task_id: str | None = None,
        round: int | None = None,
        version: int | None = None,
    ) -> tuple[RecordType, ...]:
        """Return the records of `kind` that have the given fields, in the order in which they were appended.

        Raises:
            LedgerError: `kind` has no such field.
        """
        await trio.lowlevel.checkpoint()
        fields = given(task_id, round, version)
        check_fields(kind, fields)
        found = (
            decode(row.body)
            for row in list(self._rows.values())
            if row.kind == kind.__name__ and all(getattr(row, field) == value for field, value in fields.items())
        )
        return tuple(found)  # pyright: ignore[reportReturnType]  (the rows' kind says so)
