"""Makes a slot's scratch folder empty again, whatever a run left in it: it was written by untrusted code.

Depth cannot exhaust it: folders are moved up before they are removed, so that no path grows long and nothing recurses.
Links are removed, never followed. Nobody else may be at work in the folder.

Names that a candidate chose are looked at in a process of their own, so that they do not stay on the zygote's heap,
which the next run inherits. That is left out where the folder's change time, which nobody can set, says that nothing
happened.
"""

from __future__ import annotations

import os
import stat
import time

TYPE_CHECKING = False  # importing `typing` is left to the preloaded modules
if TYPE_CHECKING:
    from collections.abc import Callable

_COARSE_NS = 20_000_000


def measure(folder: str, most_files: int) -> tuple[int, int]:
    """Return the bytes and the number of the entries below `folder`; stops counting beyond `most_files`."""
    size, count, waiting = 0, 0, [folder]
    while waiting and count <= most_files:
        try:
            for entry in os.scandir(waiting.pop()):
                count += 1
                status = entry.stat(follow_symlinks=False)
                size += status.st_blocks * 512
                if stat.S_ISDIR(status.st_mode):
                    waiting.append(entry.path)
        except OSError:  # gone again, or made unreadable: it counts as an entry all the same
            continue
    return size, count


class Scratch:
    """A slot's scratch folder, empty at first.

    Args:
        folder: absolute path.
        most_bytes: of all files, where there is no quota that sees to it.
        most_files: of all entries, likewise.
    """

    def __init__(self, folder: str, most_bytes: int, most_files: int) -> None:
        self._folder = folder
        self._most = most_bytes, most_files
        self._changed = 0
        self._begun = 0

    def begin(self) -> None:
        """Note that a run begins."""
        self._begun = time.time_ns()

    @property
    def _may_be_touched(self) -> bool:
        """Whether it may have changed since it was last emptied; the kernel's clock of changes is a coarse one."""
        changed = os.stat(self._folder).st_ctime_ns
        return changed != self._changed or self._begun - changed < _COARSE_NS

    def is_full(self) -> bool:
        """Whether there is too much in it."""
        return self._may_be_touched and _apart(self._measure)

    def _measure(self) -> bool:
        size, count = measure(self._folder, self._most[1])
        return size > self._most[0] or count > self._most[1]

    def clear(self) -> None:
        """Empty it.

        Raises:
            OSError: something could not be removed.
        """
        if not self._may_be_touched:
            return
        if _apart(self._fails_to_empty):
            raise OSError(f"the scratch folder {self._folder} could not be emptied")
        self._changed = os.stat(self._folder).st_ctime_ns

    def _fails_to_empty(self) -> bool:
        empty(self._folder)
        return False


def _apart(answer: Callable[[], bool]) -> bool:
    """Return what `answer` says in a process of its own; True if it fails."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            status = int(answer())
        finally:
            os._exit(status)
    return os.waitpid(pid, 0)[1] != 0


def empty(folder: str) -> None:
    """Remove everything below `folder`.

    Raises:
        OSError: something could not be removed.
    """
    number = 0
    if os.stat(folder).st_mode & 0o700 != 0o700:  # not otherwise: that would be a change, and to be looked into again
        os.chmod(folder, 0o700)
    while names := os.listdir(folder):
        for name in names:
            path = f"{folder}/{name}"
            if not stat.S_ISDIR(os.lstat(path).st_mode):
                os.unlink(path)
                continue
            os.chmod(path, 0o700)
            for inner in os.listdir(path):
                number += 1
                _lift(f"{path}/{inner}", f"{folder}/{number}~")
            os.rmdir(path)


def _lift(source: str, target: str) -> None:
    if stat.S_ISDIR(os.lstat(source).st_mode):
        os.chmod(source, 0o700)  # moving a folder writes to it
        while os.path.lexists(target):
            target += "~"
        os.rename(source, target)
    else:
        os.unlink(source)
