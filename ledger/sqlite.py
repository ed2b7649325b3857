"""The durable journal of one run, in one SQLite file.

Write-ahead: `append` returns after the commit that holds its records, and what it acknowledged survives a kill and a
loss of power. One process writes; any number may read at the same time, each seeing whole groups only.

Not covered: what the records mean, and reports over them (`ledger.queries`, `evals.report`).
"""

import sqlite3
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path

import trio

from ledger.connection import connect_reader, connect_writer, translating
from ledger.lock import writing_right
from ledger.row import check_fields, given, make_row
from ledger.writer import GroupWriter
from protocols.codec import decode
from protocols.errors import LedgerError
from protocols.ports import RecordType
from protocols.records import LedgerRecord

GROUP_RECORDS = 256
"""Records that end a group's wait early."""


class SqliteLedger:
    """The port `Ledger` on an SQLite file. Made by `open_ledger`.

    Args:
        path: the file, for error texts.
        reader: connection for `get` and `find`.
        writer: commits what is appended; None when the journal was opened for reading only.
        clock: gives the Unix time in seconds.
    """

    def __init__(
        self, path: Path, reader: sqlite3.Connection, writer: GroupWriter | None, clock: Callable[[], float]
    ) -> None:
        self._path = path
        self._reader = reader
        self._writer = writer
        self._clock = clock
        self._reading = trio.CapacityLimiter(1)

    async def append(self, *records: LedgerRecord) -> None:
        """Return once `records` are on disk, all of them or none; an id that is there already is left as it is.

        A cancelled call leaves them written or not, all or none.

        Raises:
            NoSpaceLeft: the disk is full.
            LedgerError: anything else that keeps them from being written.
        """
        if self._writer is None:
            raise LedgerError(f"the journal {self._path} is open for reading only")
        at = self._clock()
        rows = [make_row(record, at) for record in records]
        if rows:
            await self._writer.write(rows)
        else:
            await trio.lowlevel.checkpoint()

    async def get(self, kind: type[RecordType], id: str) -> RecordType | None:
        """Return one record, or None.

        Raises:
            LedgerError: it cannot be read.
        """
        found = await self._select("kind = ? AND id = ?", (kind.__name__, id))
        return found[0] if found else None  # pyright: ignore[reportReturnType]  (the column `kind` says so)

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
            LedgerError: one cannot be read, or `kind` has no such field.
        """
        fields = given(task_id, round, version)
        check_fields(kind, fields)
        conditions = " AND ".join(["kind = ?", *(f"{field} = ?" for field in fields)])
        found = await self._select(conditions, (kind.__name__, *fields.values()))
        return tuple(found)  # pyright: ignore[reportReturnType]  (the column `kind` says so)

    async def _select(self, conditions: str, values: tuple[str | int, ...]) -> list[LedgerRecord]:
        question = f"SELECT body FROM records WHERE {conditions} ORDER BY sequence"
        return await trio.to_thread.run_sync(self._ask, question, values, limiter=self._reading)

    def _ask(self, question: str, values: tuple[str | int, ...]) -> list[LedgerRecord]:
        with translating(self._path):
            bodies = self._reader.execute(question, values).fetchall()
        return [decode(body) for (body,) in bodies]


@asynccontextmanager
async def open_ledger(
    path: Path,
    *,
    read_only: bool = False,
    group_s: float = 0.02,
    group_records: int = GROUP_RECORDS,
    clock: Callable[[], float] = time.time,
) -> AsyncGenerator[SqliteLedger]:
    """Open the journal at `path`; everything handed in is on disk when the block ends, however it ends.

    Args:
        path: the file; created when absent, unless `read_only`.
        read_only: always possible, also while another process writes.
        group_s: how long a commit waits for further records, in seconds.
        group_records: records that end that wait early.
        clock: gives the Unix time in seconds.

    Raises:
        LedgerError: another process writes it; it belongs to another program or version; it cannot be opened.
        NoSpaceLeft: the disk is full.
    """
    if read_only:
        with closing(connect_reader(path)) as reader:
            yield SqliteLedger(path, reader, None, clock)
        return
    with writing_right(path), closing(connect_writer(path)) as connection, closing(connect_reader(path)) as reader:
        writer = GroupWriter(connection, path, group_s=group_s, group_records=group_records)
        problem: BaseException | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(writer.run)
            # Carried past the nursery, which would wrap the caller's own exception in a group.
            try:
                yield SqliteLedger(path, reader, writer, clock)
            except BaseException as error:
                problem = error
            writer.close()
        if problem is not None:
            raise problem
