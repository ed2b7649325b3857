"""Control groups of one slot, made and removed by its host: they outlive neither it nor an orchestrator that is killed.

The orchestrator names the folders and their limits (`sandbox.groups`); the zygote and all its runs are in them. They
are an addition to the limits that each process has: where they cannot be made, nothing is said but in the tier.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress

_EMPTY_S = 2.0


class Groups:
    """The groups of one slot.

    Args:
        folders: folder of each group, and the limits to write there, by file name.
    """

    def __init__(self, folders: list[tuple[str, dict[str, str]]]) -> None:
        self._parents: list[tuple[int, str]] = []
        self._members: list[int] = []
        self._complete = False
        try:
            for folder, limits in folders:
                self._make(folder, limits)
        except OSError:
            self.remove()
        else:
            self._complete = bool(folders)

    def _make(self, folder: str, limits: dict[str, str]) -> None:
        # Held by descriptors, because the host will not see these folders any more when it needs them.
        parent = os.open(os.path.dirname(folder), os.O_RDONLY | os.O_DIRECTORY)
        name = os.path.basename(folder)
        os.mkdir(name, dir_fd=parent)
        self._parents.append((parent, name))
        for file, text in limits.items():
            with open(f"{folder}/{file}", "w") as limit:
                limit.write(text)
        self._members.append(os.open(f"{folder}/cgroup.procs", os.O_WRONLY))

    def add(self, pid: int) -> bool:
        """Put a process into the groups, and so all that it will fork; return whether it is in all of them."""
        try:
            for members in self._members:
                os.write(members, str(pid).encode())
        except OSError:
            return False
        return self._complete

    def remove(self) -> None:
        """Remove the groups; their processes must have ended, or be about to."""
        deadline = time.monotonic() + _EMPTY_S
        for parent, name in self._parents:
            while True:
                try:
                    os.rmdir(name, dir_fd=parent)
                except FileNotFoundError:
                    break
                except OSError:
                    if time.monotonic() > deadline:
                        break
                    # The kernel counts out its processes a little after they were reaped. There is nothing to wait on:
                    # version 1 has no event for it, and no process is left whose end could be one. Nobody else is kept
                    # waiting, for the host has nothing to do any more but this.
                    time.sleep(0.005)
                else:
                    break
            os.close(parent)
        self._parents.clear()
        for members in self._members:
            with suppress(OSError):
                os.close(members)
        self._members.clear()
