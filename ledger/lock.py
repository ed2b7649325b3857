"""The right to write a journal: one process at a time, for as long as it lives.

The kernel holds the lock (`flock` on a file beside the journal), so it ends with its process, however that ends, and
no stale lock is ever left. Readers need none.
"""

import fcntl
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from ledger.connection import translating
from protocols.errors import LedgerError


@contextmanager
def writing_right(path: Path) -> Generator[None]:
    """Hold the right to write the journal at `path`.

    Raises:
        LedgerError: another process has it (the text gives its number), or the lock file cannot be made.
    """
    with translating(path):
        handle = os.open(lock_file(path), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        _take(handle, path)
        yield
    finally:
        os.close(handle)


def lock_file(path: Path) -> Path:
    """Return the lock file that belongs to the journal at `path`."""
    return path.with_name(f"{path.name}.lock")


def _take(handle: int, path: Path) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        owner = os.pread(handle, 32, 0).decode("ascii", "replace").strip() or "unknown"
        raise LedgerError(
            f"the journal {path} is being written by process {owner}: this run is going already; wait for it or stop "
            "it (its status, report and dashboard can be read meanwhile)"
        ) from error
    with translating(path):
        os.ftruncate(handle, 0)
        os.pwrite(handle, str(os.getpid()).encode(), 0)
