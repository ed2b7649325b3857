"""Connections to a journal file: opening, recognising, and what SQLite's errors mean.

Invariants: a file of another program, or of another version of the schema, is refused and never changed. What a commit
has acknowledged survives a loss of power (`synchronous=FULL`; `NORMAL` would lose the last commits of a WAL file).

Not covered: who may write (`ledger.lock`).
"""

import errno
import sqlite3
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path

from protocols.errors import LedgerError, NoSpaceLeft

SCHEMA_VERSION = 1
APPLICATION_ID = 0x41435231
"""Marks the file as a journal of this project, in SQLite's own header."""

_BUSY_S = 10.0
"""How long a statement waits for another connection's lock (a checkpoint), at most."""

_CACHE_BYTES = 16 << 20
_CHECKPOINT_PAGES = 8192
"""Pages of 4 KiB: the write-ahead file grows to 32 MiB before it is carried over."""

_SCHEMA = (
    """CREATE TABLE records (
        sequence INTEGER PRIMARY KEY,
        kind TEXT NOT NULL,
        id TEXT NOT NULL,
        task_id TEXT,
        round INTEGER,
        version INTEGER,
        at REAL NOT NULL,
        body BLOB NOT NULL,
        UNIQUE (kind, id)
    )""",
    "CREATE INDEX records_by_task ON records (kind, task_id, round)",
    "CREATE INDEX records_by_round ON records (kind, round, version)",
    "CREATE INDEX records_by_version ON records (kind, version)",
)


@contextmanager
def translating(path: Path) -> Generator[None]:
    """Turn whatever SQLite and the file system raise inside into this project's errors.

    Raises:
        NoSpaceLeft: the disk is full.
        LedgerError: anything else.
    """
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise translate(error, path) from error


def translate(error: sqlite3.Error | OSError, path: Path) -> LedgerError:
    """Return the project's error for one of SQLite or of the file system."""
    if _is_full(error):
        return NoSpaceLeft(
            f"no space left for the run's journal {path}; everything acknowledged before is safe: "
            "free some space and start the same command again"
        )
    if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_NOTADB:
        return LedgerError(f"{path} is not a journal: it is not an SQLite file")
    return LedgerError(f"the run's journal {path} cannot be used: {error}")


def connect_writer(path: Path) -> sqlite3.Connection:
    """Open `path` for writing; create it when it is absent or empty.

    Raises:
        LedgerError: a file of another program or another version, or one that cannot be opened.
        NoSpaceLeft: the disk is full.
    """
    with translating(path):
        connection = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
    return _prepared(connection, path, writable=True)


def connect_reader(path: Path) -> sqlite3.Connection:
    """Open `path` for reading only; possible at any time, also while a run is writing.

    Raises:
        LedgerError: as `connect_writer`, or there is no such file.
    """
    if not path.is_file():
        raise LedgerError(f"there is no journal at {path}; is this the folder of a run?")
    with translating(path):
        address = f"{path.resolve().as_uri()}?mode=ro"
        connection = sqlite3.connect(address, uri=True, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
    return _prepared(connection, path, writable=False)


@contextmanager
def reading(path: Path) -> Generator[sqlite3.Connection]:
    """Give a connection for reading, closed at the end.

    Raises:
        LedgerError: as `connect_reader`, and for what SQLite raises inside.
    """
    with closing(connect_reader(path)) as connection, translating(path):
        yield connection


def _prepared(connection: sqlite3.Connection, path: Path, *, writable: bool) -> sqlite3.Connection:
    try:
        with translating(path):
            if writable:
                _create_when_empty(connection)
            _recognise(connection, path)
            if writable:
                _tune(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _tune(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    # Ids are hashes, so each insertion touches a page of its own: keep those pages, and carry them over seldom.
    connection.execute(f"PRAGMA cache_size=-{_CACHE_BYTES >> 10}")
    connection.execute(f"PRAGMA wal_autocheckpoint={_CHECKPOINT_PAGES}")


def _create_when_empty(connection: sqlite3.Connection) -> None:
    if _number(connection, "SELECT count(*) FROM sqlite_master") or _number(connection, "PRAGMA user_version"):
        return
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("BEGIN IMMEDIATE")
    for statement in _SCHEMA:
        connection.execute(statement)
    connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
    connection.execute("COMMIT")


def _recognise(connection: sqlite3.Connection, path: Path) -> None:
    application = _number(connection, "PRAGMA application_id")
    version = _number(connection, "PRAGMA user_version")
    if application != APPLICATION_ID:
        raise LedgerError(
            f"{path} is not a journal of this project: another program made it, or its making was cut off"
        )
    if version != SCHEMA_VERSION:
        age = "a newer" if version > SCHEMA_VERSION else "an older"
        raise LedgerError(
            f"the journal {path} was written by {age} version of this project (schema {version}, this one reads "
            f"{SCHEMA_VERSION}); use that version for it, or start a new run folder"
        )


def _number(connection: sqlite3.Connection, question: str) -> int:
    return connection.execute(question).fetchone()[0]


def _is_full(error: sqlite3.Error | OSError) -> bool:
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    # Errors that Python's module raises itself carry no code of SQLite's.
    code = getattr(error, "sqlite_errorcode", None)
    return code == sqlite3.SQLITE_FULL or "database or disk is full" in str(error)
