"""Ends what a process has inherited or left: no run may leave a process behind."""

from __future__ import annotations

import os
from contextlib import suppress

_SIGKILL = 9


def end_children(*, kill: bool) -> None:
    """Reap every child of this process; with `kill`, end them first, and those that come to it while it does so.

    Without `kill` they must all have been killed already.
    """
    try:
        while True:
            for number in _children() if kill else ():
                with suppress(ProcessLookupError, PermissionError):
                    os.kill(number, _SIGKILL)
            os.waitpid(-1, 0)
    except ChildProcessError:
        return


def _children() -> list[int]:
    try:
        with open("/proc/thread-self/children") as file:
            return [int(number) for number in file.read().split()]
    except OSError:
        return []
