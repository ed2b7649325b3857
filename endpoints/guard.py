"""A small program that runs another one and never lets it outlive the process that asked for it.

    python guard.py PARENT_PID GRACE_S COMMAND...

The command runs in a process group of its own, in the guard's session. It is ended (SIGTERM, `GRACE_S` seconds,
SIGKILL for the group and every descendant) as soon as the guard's standard input ends, the parent is gone, or the guard
gets SIGTERM; when the command ends by itself, what it left running is killed. The guard ends with the command's exit
code, 128 + signal for a signal.
Standard library only; it imports nothing of the project. On systems without pidfd and subreaper (not Linux) it does
without them.
"""

import contextlib
import ctypes
import os
import selectors
import signal
import subprocess
import sys
import time
from pathlib import Path

_SET_PDEATHSIG = 1
_SET_CHILD_SUBREAPER = 36
_REAP_S = 5.0
_SESSION_FIELD = 3
"""Of `/proc/PID/stat`, counted from the state, which follows the program's name."""


def main(arguments: list[str]) -> int:
    """Run the command in `arguments` until it ends or nobody wants it any more; return the exit code."""
    parent, grace_s, command = int(arguments[0]), float(arguments[1]), arguments[2:]
    _adopt_orphans()
    ended, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
        signal.signal(number, _note)
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, process_group=0, preexec_fn=_die_with_guard)
    _wait(child, parent, ended)
    if child.poll() is None:
        _end(child, grace_s)
    _kill_group(child.pid)
    _kill_orphans()
    code = child.wait()
    return code if code >= 0 else 128 - code


_asked: list[int] = []


def _note(number: int, frame: object) -> None:
    if number != signal.SIGCHLD:
        _asked.append(number)


def _wait(child: subprocess.Popen[bytes], parent: int, ended: int) -> None:
    """Return when the child has ended, or must end. No time-out: it is over with one of the three, or with us."""
    with selectors.DefaultSelector() as selector:
        selector.register(sys.stdin.fileno(), selectors.EVENT_READ, "unwanted")
        selector.register(ended, selectors.EVENT_READ, "signal")
        with contextlib.suppress(AttributeError, OSError):
            selector.register(os.pidfd_open(parent), selectors.EVENT_READ, "unwanted")
        while child.poll() is None and not _asked and os.getppid() == parent:
            for key, _ in selector.select():
                data = os.read(key.fd, 4096) if key.data == "signal" or key.fd == sys.stdin.fileno() else b""
                if key.data == "unwanted" and not data:
                    return


def _end(child: subprocess.Popen[bytes], grace_s: float) -> None:
    """Ask the child to end, and wait for it, within bounds."""
    _signal_group(child.pid, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(grace_s)


def _kill_group(group: int) -> None:
    _signal_group(group, signal.SIGKILL)


def kill_session(session: int) -> None:
    """Kill what is left in a session whose guard is gone, however it went. For the guard's parent; Linux only."""
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, ValueError):
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            if int(fields[_SESSION_FIELD]) == session:
                os.kill(int(folder.name), signal.SIGKILL)


def _signal_group(group: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _kill_orphans() -> None:
    """Kill every descendant that has become our child, and theirs as they do, until none is left."""
    deadline = time.monotonic() + _REAP_S
    while time.monotonic() < deadline:
        children = _children()
        for pid in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if not children:
            return
        for pid in children:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)


def _children() -> list[int]:
    try:
        return list(map(int, Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()))
    except OSError:
        return []


def _adopt_orphans() -> None:
    _prctl(_SET_CHILD_SUBREAPER, 1)


def _die_with_guard() -> None:
    """Even a guard that is killed takes its child along: it has one thread, so the signal means its own end."""
    _prctl(_SET_PDEATHSIG, signal.SIGKILL)


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
