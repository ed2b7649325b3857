"""The journal's one writer: gathers appends into groups and commits each group with one sync of the disk.

Invariants: one thread writes, one group at a time; an append is in exactly one group; nobody is told of success before
the commit that holds their rows, and a group that fails is undone whole and every append in it is told why. Nothing
polls: the writer sleeps until rows arrive.

The window costs each append up to its length and saves a sync per append; rows that arrive while a group is being
committed make up the next one.
"""

import sqlite3
from collections.abc import Sequence
from pathlib import Path

import trio

from ledger.connection import translate
from ledger.row import Row
from protocols.errors import LedgerError

_INSERT = "INSERT OR IGNORE INTO records (kind, id, task_id, round, version, at, body) VALUES (?, ?, ?, ?, ?, ?, ?)"


class _Append:
    """Rows of one append, on their way to the disk."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = rows
        self.ended = trio.Event()
        self.error: LedgerError | None = None


class GroupWriter:
    """Commits rows in groups, until closed.

    Args:
        connection: an open journal; this writer alone uses it.
        path: its file, for error texts.
        group_s: how long a group waits for company, in seconds, from its first rows on; 0 commits at once.
        group_records: records that end the wait early.
    """

    def __init__(self, connection: sqlite3.Connection, path: Path, *, group_s: float, group_records: int) -> None:
        self._connection = connection
        self._path = path
        self._group_s = group_s
        self._group_records = group_records
        self._thread = trio.CapacityLimiter(1)
        self._waiting: list[_Append] = []
        self._waiting_rows = 0
        self._since = 0.0
        self._arrived = trio.Event()
        self._hurry = trio.Event()
        self._closed = False

    async def write(self, rows: Sequence[Row]) -> None:
        """Return once `rows` are committed. When cancelled, they are written all the same, all or none.

        Raises:
            NoSpaceLeft: the disk is full.
            LedgerError: anything else that kept the group from being committed, or the writer is closed.
        """
        if self._closed:
            raise LedgerError(f"the journal {self._path} is closed")
        append = _Append(rows)
        if not self._waiting:
            self._since = trio.current_time()
        self._waiting.append(append)
        self._arrived.set()
        self._waiting_rows += len(rows)
        if self._waiting_rows >= self._group_records:
            self._hurry.set()
        await append.ended.wait()
        if append.error is not None:
            # A new object each: several tasks raise it, and a traceback belongs to one.
            raise type(append.error)(str(append.error)) from append.error

    def close(self) -> None:
        """Take no more rows; `run` ends when those that wait are on disk."""
        self._closed = True
        self._arrived.set()
        self._hurry.set()

    async def run(self) -> None:
        """Commit groups until closed. Shielded: a cancelled run still writes what was handed in."""
        with trio.CancelScope(shield=True):
            while True:
                await self._arrived.wait()
                with trio.move_on_at(self._since + self._group_s):
                    await self._hurry.wait()
                await self._commit(self._next_group())
                if self._closed and not self._waiting:
                    return

    def _next_group(self) -> list[_Append]:
        group, self._waiting, self._waiting_rows = self._waiting, [], 0
        if not self._closed:
            self._arrived, self._hurry = trio.Event(), trio.Event()
        return group

    async def _commit(self, group: list[_Append]) -> None:
        rows = [row for append in group for row in append.rows]
        error: LedgerError | None = None
        try:
            await trio.to_thread.run_sync(self._insert, rows, limiter=self._thread)
        except (sqlite3.Error, OSError) as problem:
            error = translate(problem, self._path)
            error.__cause__ = problem
        for append in group:
            append.error = error
            append.ended.set()

    def _insert(self, rows: list[Row]) -> None:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            self._connection.executemany(_INSERT, rows)
            self._connection.execute("COMMIT")
        finally:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
