"""Makes a slot's scratch folder empty again, whatever a run left in it: it was written by untrusted code.

Depth cannot exhaust it: folders are moved up before they are removed, so that no path grows long and nothing recurses.
Links are removed, never followed. Nobody else may be at work in the folder.
"""

from __future__ import annotations

import contextlib
import os
import stat


def is_empty(folder: str) -> bool:
    """Whether nothing is in `folder`; one that cannot even be listed counts as touched."""
    try:
        return not os.listdir(folder)
    except OSError:
        return False


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


def empty(folder: str) -> None:
    """Remove everything below `folder`.

    Raises:
        OSError: something could not be removed.
    """
    number = 0
    with contextlib.suppress(PermissionError):  # where it belongs to another user, that one keeps it open to all
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
